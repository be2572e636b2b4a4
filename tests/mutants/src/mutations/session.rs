// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutations of the ring's sessions.

use super::{LOST, Mutation, mutation};

const MAPPING: &str = "crates/forward-ring/src/mapping.rs";
const CLIENT: &str = "crates/forward-ring/src/client.rs";
const SERVER: &str = "crates/forward-ring/src/server.rs";

/// Both sides.
pub(super) const MUTATIONS: &[Mutation] = &[
    mutation(
        "session: words published without release",
        LOST,
        MAPPING,
        &[(
            "self.session(word).store(value, Ordering::Release)",
            "self.session(word).store(value, Ordering::Relaxed)",
        )],
    ),
    mutation(
        "session: words observed without acquire",
        LOST,
        MAPPING,
        &[(
            "self.session(word).load(Ordering::Acquire)",
            "self.session(word).load(Ordering::Relaxed)",
        )],
    ),
    mutation(
        "session: the last greeting not withdrawn",
        LOST,
        CLIENT,
        &[(
            "        self.mapping.publish_session(SessionWord::Greeted, 0);\n",
            "",
        )],
    ),
    mutation(
        "session: the last greeting withdrawn after the new generation is published",
        LOST,
        CLIENT,
        &[
            (
                "        self.mapping.publish_session(SessionWord::Greeted, 0);\n",
                "",
            ),
            (
                "        self.reset();
        self.greeted =",
                "        self.mapping.publish_session(SessionWord::Greeted, 0);
        self.reset();
        self.greeted =",
            ),
        ],
    ),
    mutation(
        "session: greeted before the client's side is empty",
        LOST,
        CLIENT,
        &[
            (
                "        self.reset();
        self.greeted =",
                "        self.greeted =",
            ),
            (
                "        self.greeted != 0
    }",
                "        self.reset();
        self.greeted != 0
    }",
            ),
        ],
    ),
    mutation(
        "session: the client's generation stays",
        LOST,
        CLIENT,
        &[(
            "self.generation = next_generation(last)",
            "self.generation = last.max(1)",
        )],
    ),
    mutation(
        "session: the client keeps the tokens of calls under way",
        LOST,
        CLIENT,
        &[(
            "        (self.free, self.in_flight) = (TokenSet::FULL, TokenSet::EMPTY);\n",
            "",
        )],
    ),
    mutation(
        "session: the client goes on where it took the last completion",
        LOST,
        CLIENT,
        &[
            ("        self.completion_head = 0;\n", ""),
            (
                "        self.mapping.publish(Index::CompletionHead, 0);\n",
                "        self.mapping.publish(Index::CompletionHead, self.completion_head);\n",
            ),
        ],
    ),
    mutation(
        "session: the client uses the ring before it is accepted",
        LOST,
        CLIENT,
        &[(
            "self.mapping.observe_session(SessionWord::Accepted) == self.generation",
            "self.generation != 0",
        )],
    ),
    mutation(
        "session: accepted by a server that is no more",
        LOST,
        CLIENT,
        &[("\n            && !self.is_server_new()", "")],
    ),
    mutation(
        "session: the server's generation stays",
        LOST,
        SERVER,
        &[(
            "self.generation = next_generation(last)",
            "self.generation = last.max(1)",
        )],
    ),
    mutation(
        "session: the server looks at the greeting before the generation",
        LOST,
        SERVER,
        &[(
            "        let client = mapping.observe_session(SessionWord::ClientGeneration);
        let greeted = mapping.observe_session(SessionWord::Greeted);\n",
            "        let greeted = mapping.observe_session(SessionWord::Greeted);
        let client = mapping.observe_session(SessionWord::ClientGeneration);\n",
        )],
    ),
    mutation(
        "session: the server accepts the generation that it finds after its look",
        LOST,
        SERVER,
        &[(
            "        self.accepted = client;\n",
            "        let client = self.mapping.observe_session(SessionWord::ClientGeneration);
        self.accepted = client;\n",
        )],
    ),
    mutation(
        "session: accepted before the server's side is empty",
        LOST,
        SERVER,
        &[(
            "        self.reset();
        self.mapping.publish_session(SessionWord::Accepted, client);\n",
            "        self.mapping.publish_session(SessionWord::Accepted, client);
        self.reset();\n",
        )],
    ),
    mutation(
        "session: the server leaves what it has completed",
        LOST,
        SERVER,
        &[
            ("        self.completion_tail = 0;\n", ""),
            (
                "        self.mapping.publish(Index::CompletionTail, 0);\n",
                "",
            ),
        ],
    ),
    mutation(
        "session: the server goes on where it took the last request",
        LOST,
        SERVER,
        &[(
            "        self.request_head = self.mapping.observe(Index::RequestTail);\n",
            "",
        )],
    ),
    mutation(
        "session: the server keeps the tokens of calls under way",
        LOST,
        SERVER,
        &[("        self.idle = TokenSet::FULL;\n", "")],
    ),
    mutation(
        "session: the server accepts whom another server was greeted by",
        LOST,
        SERVER,
        &[("greeted == *generation && ", "")],
    ),
    mutation(
        "session: the server does not see that its client is gone",
        LOST,
        SERVER,
        &[(
            "        let is = |word, value| self.mapping.observe_session(word) == value;
        self.accepted != 0
            && !(is(SessionWord::ClientGeneration, self.accepted)
                && is(",
            "        let is = |word, value| self.mapping.observe_session(word) == value;
        self.accepted != 0
            && !(is(",
        )],
    ),
];
