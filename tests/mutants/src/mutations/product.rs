// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutations of what runs.

use super::Effect::Harmless;
use super::{DIFFERENT, LOST, Mutation, mutation};

const MAPPING: &str = "crates/forward-ring/src/mapping.rs";
const CLIENT: &str = "crates/forward-ring/src/client.rs";
const SERVER: &str = "crates/forward-ring/src/server.rs";
const UPID: &str = "crates/uintr/src/upid.rs";

/// Ring, UPID, and what the models quote.
pub(super) const MUTATIONS: &[Mutation] = &[
    mutation(
        "ring: indices published without release",
        LOST,
        MAPPING,
        &[
            (
                "self.index(index).store(value, Ordering::Release)",
                "self.index(index).store(value, Ordering::Relaxed)",
            ),
            ("        fence(Ordering::SeqCst);\n", ""),
        ],
    ),
    mutation(
        "ring: indices observed without acquire",
        LOST,
        MAPPING,
        &[(
            "self.index(index).load(Ordering::Acquire)",
            "self.index(index).load(Ordering::Relaxed)",
        )],
    ),
    mutation(
        "ring: request published before it is written",
        LOST,
        CLIENT,
        &[(
            "        self.mapping.write_request(",
            "        self.mapping.publish(Index::RequestTail, self.request_tail.wrapping_add(1));
        self.mapping.write_request(",
        )],
    ),
    mutation(
        "ring: completion published before it is written",
        LOST,
        SERVER,
        &[(
            "        self.mapping.write_completion(",
            "        self.mapping.publish(Index::CompletionTail, ours.wrapping_add(1));
        self.mapping.write_completion(",
        )],
    ),
    mutation(
        "ring: request's head not published",
        LOST,
        SERVER,
        &[(
            "        self.request_head = ours.wrapping_add(1);
        self.mapping.publish(Index::RequestHead, self.request_head);\n",
            "        self.request_head = ours.wrapping_add(1);\n",
        )],
    ),
    mutation(
        "ring: published without a fence",
        LOST,
        MAPPING,
        &[("        fence(Ordering::SeqCst);\n", "")],
    ),
    mutation(
        "ring: looks whether to notify before it publishes",
        LOST,
        CLIENT,
        &[
            (
                "        self.request_tail = before.wrapping_add(1);
        self.mapping.publish(Index::RequestTail, self.request_tail);",
                "        self.request_tail = before.wrapping_add(1);
        let notify = self.mapping.observe(Index::RequestHead) == before;
        self.mapping.publish(Index::RequestTail, self.request_tail);",
            ),
            (
                "            notify: self.mapping.observe(Index::RequestHead) == before,",
                "            notify,",
            ),
        ],
    ),
    mutation(
        "ring: a burst's first item not notified",
        LOST,
        CLIENT,
        &[(
            "observe(Index::RequestHead) == before",
            "observe(Index::RequestHead) == before.wrapping_add(1)",
        )],
    ),
    mutation(
        "ring: a burst's first completion not notified",
        LOST,
        SERVER,
        &[(
            "Ok(self.mapping.observe(Index::CompletionHead) == ours)",
            "Ok(self.mapping.observe(Index::CompletionHead) == ours.wrapping_add(1))",
        )],
    ),
    mutation(
        "session.rs: looks for the server after the ring",
        DIFFERENT,
        "guest-nimbos/kernel/src/kernel/forward/session.rs",
        &[
            (
                "            if !channel.is_server_there() {\n                self.drain();\n",
                "            if !channel.is_server_there() {\n",
            ),
            (
                "        let is_wanted = self.threads.has_token_waiters();\n",
                "        self.drain();
        let is_wanted = self.threads.has_token_waiters();\n",
            ),
        ],
    ),
    mutation(
        "schedule.rs: does not drain after HLT",
        DIFFERENT,
        "guest-nimbos/kernel/src/kernel/schedule.rs",
        &[("    kernel.on_event(cpu, event, None);\n", "")],
    ),
    mutation(
        "upid: requests taken before ON is cleared",
        LOST,
        UPID,
        &[(
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        self.pir.swap(0, Ordering::AcqRel)",
            "        let taken = self.pir.swap(0, Ordering::AcqRel);
        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        taken",
        )],
    ),
    mutation(
        "upid: ON not cleared",
        LOST,
        UPID,
        &[(
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);\n",
            "",
        )],
    ),
    mutation(
        "upid: requests left in place",
        LOST,
        UPID,
        &[(
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        self.pir.swap(0, Ordering::AcqRel)",
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        self.pir.load(Ordering::Acquire)",
        )],
    ),
    mutation(
        "upid: requests taken without acquire",
        LOST,
        UPID,
        &[(
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        self.pir.swap(0, Ordering::AcqRel)",
            "        self.control.fetch_and(!Self::OUTSTANDING, Ordering::Release);
        self.pir.swap(0, Ordering::Release)",
        )],
    ),
    mutation(
        "upid: ON cleared without acquire",
        Harmless("taking the requests acquires too; one ordering for all is easier to keep right"),
        UPID,
        &[(
            "fetch_and(!Self::OUTSTANDING, Ordering::AcqRel)",
            "fetch_and(!Self::OUTSTANDING, Ordering::Release)",
        )],
    ),
    mutation(
        "upid: requests looked at without acquire",
        LOST,
        UPID,
        &[(
            "self.pir.load(Ordering::Acquire)",
            "self.pir.load(Ordering::Relaxed)",
        )],
    ),
    mutation(
        "upid: notifications allowed again without acquire",
        LOST,
        UPID,
        &[(
            "fetch_and(!Self::SUPPRESS, Ordering::AcqRel)",
            "fetch_and(!Self::SUPPRESS, Ordering::Release)",
        )],
    ),
    mutation(
        "upid: notifications suppressed without acquire",
        Harmless("whoever suppresses looks at the requests afterwards, which acquires"),
        UPID,
        &[(
            "fetch_or(Self::SUPPRESS, Ordering::AcqRel)",
            "fetch_or(Self::SUPPRESS, Ordering::Release)",
        )],
    ),
    mutation(
        "upid: notifications not allowed again",
        LOST,
        UPID,
        &[(
            "self.control.fetch_and(!Self::SUPPRESS, Ordering::AcqRel)",
            "self.control.fetch_and(!0, Ordering::AcqRel)",
        )],
    ),
    mutation(
        "upid: moved without taking what was posted",
        LOST,
        UPID,
        &[(
            "        self.init(nv, ndst);
        self.pir.swap(0, Ordering::AcqRel)",
            "        self.init(nv, ndst);
        0",
        )],
    ),
    mutation(
        "upid: moved after taking what was posted",
        LOST,
        UPID,
        &[(
            "        self.init(nv, ndst);
        self.pir.swap(0, Ordering::AcqRel)",
            "        let taken = self.pir.swap(0, Ordering::AcqRel);
        self.init(nv, ndst);
        taken",
        )],
    ),
    mutation(
        "upid: moved without acquire",
        LOST,
        UPID,
        &[
            (
                "        self.init(nv, ndst);
        self.pir.swap(0, Ordering::AcqRel)",
                "        self.init(nv, ndst);
        self.pir.swap(0, Ordering::Release)",
            ),
            (
                "self.control.swap(control, Ordering::AcqRel)",
                "self.control.swap(control, Ordering::Release)",
            ),
        ],
    ),
    mutation(
        "upid: posted after ON was set",
        LOST,
        UPID,
        &[
            (
                "        self.pir.fetch_or(requests, Ordering::AcqRel);\n",
                "",
            ),
            (
                "        if before & Self::OUTSTANDING != 0 {
            return None;
        }
        Some(",
                "        self.pir.fetch_or(requests, Ordering::AcqRel);
        if before & Self::OUTSTANDING != 0 {
            return None;
        }
        Some(",
            ),
        ],
    ),
    mutation(
        "upid: posted after looking at ON and SN",
        LOST,
        UPID,
        &[
            (
                "        self.pir.fetch_or(requests, Ordering::AcqRel);\n",
                "",
            ),
            (
                "        if before & (Self::OUTSTANDING | Self::SUPPRESS) != 0 {",
                "        self.pir.fetch_or(requests, Ordering::AcqRel);
        if before & (Self::OUTSTANDING | Self::SUPPRESS) != 0 {",
            ),
        ],
    ),
    mutation(
        "upid: a load looks at ON and SN",
        LOST,
        UPID,
        &[(
            "self.control.fetch_or(0, Ordering::AcqRel)",
            "self.control.load(Ordering::Acquire)",
        )],
    ),
    mutation(
        "upid: posted without release",
        LOST,
        UPID,
        &[
            (
                "self.pir.fetch_or(requests, Ordering::AcqRel)",
                "self.pir.fetch_or(requests, Ordering::Acquire)",
            ),
            (
                "self.control.fetch_or(0, Ordering::AcqRel)",
                "self.control.fetch_or(0, Ordering::Acquire)",
            ),
        ],
    ),
    mutation(
        "context.c: requests taken before SN and ON are cleared",
        DIFFERENT,
        "guest-linux-shadow/driver/context.c",
        &[
            (
                "		atomic64_xchg(&ctx->upid->control, isthmus_upid_control(ISTHMUS_UINV));\n",
                "		posted = atomic64_xchg(&ctx->upid->pir, 0);\n",
            ),
            (
                "		posted = atomic64_xchg(&ctx->upid->pir, 0);\n		if (posted)",
                "		atomic64_xchg(&ctx->upid->control, isthmus_upid_control(ISTHMUS_UINV));
		if (posted)",
            ),
        ],
    ),
    mutation(
        "context.c: one more access to the UPID",
        DIFFERENT,
        "guest-linux-shadow/driver/context.c",
        &[(
            "	isthmus_cpu_clear();\n	ctx->loaded = false;\n",
            "	isthmus_cpu_clear();\n	atomic64_set(&ctx->upid->pir, 0);\n	ctx->loaded = false;\n",
        )],
    ),
    mutation(
        "wait.c: posts looked at before the state is set",
        DIFFERENT,
        "guest-linux-shadow/driver/wait.c",
        &[
            ("		set_current_state(TASK_INTERRUPTIBLE);\n", ""),
            (
                "			break;\n		}\n		if (signal_pending(current)) {",
                "			break;\n		}\n		set_current_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current)) {",
            ),
        ],
    ),
    mutation(
        "wait.c: the wake-up vector named before the thread is listed",
        DIFFERENT,
        "guest-linux-shadow/driver/wait.c",
        &[
            (
                "	isthmus_context_unload(ctx);\n	ctx->waiting = true;\n",
                "	isthmus_context_unload(ctx);\n	ctx->waiting = true;
	atomic64_xchg(&ctx->upid->control,
		      isthmus_upid_control(POSTED_INTR_WAKEUP_VECTOR));\n",
            ),
            (
                "	raw_spin_unlock(&wait_lock);
	atomic64_xchg(&ctx->upid->control,
		      isthmus_upid_control(POSTED_INTR_WAKEUP_VECTOR));\n",
                "	raw_spin_unlock(&wait_lock);\n",
            ),
        ],
    ),
    mutation(
        "context.c: posts without the lock",
        DIFFERENT,
        "guest-linux-shadow/driver/context.c",
        &[(
            "	raw_spin_lock(&lock);\n	if (ctx->upid)\n",
            "	if (ctx->upid)\n",
        )],
    ),
    mutation(
        "work/mod.rs: workers say that they are done before they put the result",
        DIFFERENT,
        "guest-linux-shadow/shadow/src/work/mod.rs",
        &[
            ("            desk.put(outcome);\n", ""),
            (
                "                (self.wake)();\n            }\n",
                "                (self.wake)();\n            }\n            desk.put(outcome);\n",
            ),
        ],
    ),
    mutation(
        "serve.rs: sleeps though the handler has seen the end",
        DIFFERENT,
        "guest-linux-shadow/shadow/src/serve.rs",
        &[(" && !handler::wants_main_thread()\n", "\n")],
    ),
    mutation(
        "interrupts.rs: does not make the UPID ready",
        DIFFERENT,
        "guest-nimbos/kernel/src/interrupts.rs",
        &[(
            "            let requests = inbox.take_requests();\n",
            "            let requests = inbox.requests();\n",
        )],
    ),
    mutation(
        "cpu.rs: interrupts enabled before HLT",
        DIFFERENT,
        "guest-nimbos/kernel/src/arch/cpu.rs",
        &[(r#""sti", "hlt", "cli""#, r#""sti", "nop", "hlt", "cli""#)],
    ),
    mutation(
        "doorbell.rs: takes posts without making the proxy ready",
        DIFFERENT,
        "hypervisor/src/doorbell.rs",
        &[(
            "let posted = proxy.take_requests();",
            "let posted = proxy.requests();",
        )],
    ),
];
