// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutations of the tests' models: of the steps that the C code, the co-kernel, the scheduler and the hypervisor do.

use super::Effect::Harmless;
use super::{LOST, Mutation, mutation};

const CHANNEL: &str = "tests/interleavings/src/channel.rs";
const PROCESSOR: &str = "tests/interleavings/src/processor.rs";
const NIMBOS: &str = "tests/interleavings/src/nimbos.rs";
const LINUX: &str = "tests/interleavings/src/linux.rs";
const WORKERS: &str = "tests/interleavings/src/workers.rs";

/// Both sides, and the hypervisor between them.
pub(super) const MUTATIONS: &[Mutation] = &[
    mutation(
        "hypervisor: posts before it has made the proxy ready",
        LOST,
        PROCESSOR,
        &[(
            "            let posted = proxy.take_requests();\n",
            "            let posted = proxy.requests();
            let _ = proxy.take_requests();\n",
        )],
    ),
    mutation(
        "client: notifies before it publishes",
        LOST,
        CHANNEL,
        &[
            (
                "        if self.call(number) {\n            let channel",
                "        {\n            let channel",
            ),
            (
                "            channel.machine.senduipi(&channel.server_upid, USER_VECTOR);
        }\n",
                "            channel.machine.senduipi(&channel.server_upid, USER_VECTOR);
        }
        self.call(number);\n",
            ),
        ],
    ),
    mutation(
        "server: goes without release",
        Harmless("the fence after each publication releases the completions too; the state stands for itself"),
        CHANNEL,
        &[(
            "self.server_state.store(0, Ordering::Release)",
            "self.server_state.store(0, Ordering::Relaxed)",
        )],
    ),
    mutation(
        "client: sees the server go without acquire",
        LOST,
        CHANNEL,
        &[(
            "self.server_state.load(Ordering::Acquire)",
            "self.server_state.load(Ordering::Relaxed)",
        )],
    ),
    mutation(
        "co-kernel: its timer waits for a server that is another one",
        LOST,
        NIMBOS,
        &[(
            "!self.client.channel.is_server_ready() || self.client.is_server_new()",
            "!self.client.channel.is_server_ready()",
        )],
    ),
    mutation(
        "co-kernel: its handler does not make the UPID ready",
        LOST,
        NIMBOS,
        &[("            let _ = channel.client_upid.take_requests();\n", "")],
    ),
    mutation(
        "co-kernel: accepts interrupts between its last look and HLT",
        LOST,
        NIMBOS,
        &[(
            "        let event = channel.machine.nimbos.halt();",
            "        if let Some(vector) = channel.machine.nimbos.accept() {
            handle(&channel, vector);
        }
        let event = channel.machine.nimbos.halt();",
        )],
    ),
    mutation(
        "co-kernel: looks for one completion only",
        LOST,
        NIMBOS,
        &[("        while let Some(completion)", "        if let Some(completion)")],
    ),
    mutation(
        "co-kernel: looks for the server after the ring",
        LOST,
        NIMBOS,
        &[
            (
                "        // !channel.is_server_there()",
                "        self.drain();
        // !channel.is_server_there()",
            ),
            (
                "            self.drain();
            // self.lose_calls();",
                "            // self.lose_calls();",
            ),
        ],
    ),
    mutation(
        "driver, switch in: takes requests before it clears SN and ON",
        LOST,
        LINUX,
        &[
            ("        let posted = pir.swap(0, Ordering::SeqCst);\n", ""),
            (
                "        control.swap(self.upid_control(UINV), Ordering::SeqCst);\n",
                "        let posted = pir.swap(0, Ordering::SeqCst);
        control.swap(self.upid_control(UINV), Ordering::SeqCst);\n",
            ),
        ],
    ),
    mutation(
        "driver, switch in: leaves requests that were posted",
        LOST,
        LINUX,
        &[(
            "        let posted = pir.swap(0, Ordering::SeqCst);\n",
            "        let posted = pir.load(Ordering::SeqCst) & 0;\n",
        )],
    ),
    mutation(
        "driver, switch in: forgets vectors that were pending",
        LOST,
        LINUX,
        &[(
            "        self.uirr = self.task.requests.load(Ordering::Relaxed) | posted;\n",
            "        self.uirr = posted;\n",
        )],
    ),
    mutation(
        "driver, switch in: leaves the old CPU in NDST",
        LOST,
        LINUX,
        &[(
            "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
            "control.swap(u64::from(UINV) << 16, Ordering::SeqCst)",
        )],
    ),
    mutation(
        "driver, switch in: leaves SN set",
        LOST,
        LINUX,
        &[(
            "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
            "control.swap(self.upid_control(UINV) | SN, Ordering::SeqCst)",
        )],
    ),
    mutation(
        "driver, switch in: leaves ON set",
        LOST,
        LINUX,
        &[(
            "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
            "control.swap(
            self.upid_control(UINV) | control.load(Ordering::SeqCst) & processor::ON,
            Ordering::SeqCst,
        )",
        )],
    ),
    mutation(
        "driver, switch in: control word written without acquire and release",
        Harmless("taking the requests acquires; Linux has no weaker exchange worth asking for"),
        LINUX,
        &[(
            "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
            "control.swap(self.upid_control(UINV), Ordering::Relaxed)",
        )],
    ),
    mutation(
        "driver, switch in: requests taken without acquire",
        LOST,
        LINUX,
        &[("pir.swap(0, Ordering::SeqCst)", "pir.swap(0, Ordering::Relaxed)")],
    ),
    mutation(
        "driver, switch in: no acquire at all",
        LOST,
        LINUX,
        &[
            ("pir.swap(0, Ordering::SeqCst)", "pir.swap(0, Ordering::Relaxed)"),
            (
                "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
                "control.swap(self.upid_control(UINV), Ordering::Relaxed)",
            ),
        ],
    ),
    mutation(
        "driver, switch out: SN not set",
        Harmless("SN only spares the old CPU interrupts: switching in takes what was posted"),
        LINUX,
        &[("control.fetch_or(SN, Ordering::SeqCst)", "control.fetch_or(SN & 0, Ordering::SeqCst)")],
    ),
    mutation(
        "driver, switch out: drops pending vectors",
        LOST,
        LINUX,
        &[(
            "        self.task.requests.store(self.uirr, Ordering::Relaxed);\n",
            "",
        )],
    ),
    mutation(
        "driver, sleep: keeps SN instead of naming the wake-up vector",
        LOST,
        LINUX,
        &[(
            "        control.swap(self.upid_control(WAKEUP), Ordering::SeqCst);\n",
            "        control.fetch_or(0, Ordering::SeqCst);\n",
        )],
    ),
    mutation(
        "driver, sleep: keeps naming UINV",
        LOST,
        LINUX,
        &[(
            "control.swap(self.upid_control(WAKEUP), Ordering::SeqCst)",
            "control.swap(self.upid_control(UINV), Ordering::SeqCst)",
        )],
    ),
    mutation(
        "driver, sleep: leaves ON set",
        LOST,
        LINUX,
        &[(
            "control.swap(self.upid_control(WAKEUP), Ordering::SeqCst)",
            "control.swap(
            self.upid_control(WAKEUP) | control.load(Ordering::SeqCst) & processor::ON,
            Ordering::SeqCst,
        )",
        )],
    ),
    mutation(
        "driver, sleep: control word written without acquire",
        Harmless("the full barrier before the look acquires what the exchange has read"),
        LINUX,
        &[(
            "control.swap(self.upid_control(WAKEUP), Ordering::SeqCst)",
            "control.swap(self.upid_control(WAKEUP), Ordering::Release)",
        )],
    ),
    mutation(
        "driver, sleep: does not look again before the first sleep",
        LOST,
        LINUX,
        &[
            (
                "        loop {\n            // A store",
                "        let mut has_slept = false;\n        loop {\n            // A store",
            ),
            (
                "            if self.task.has_posts(&self.server.channel) {",
                "            if std::mem::replace(&mut has_slept, true)
                && self.task.has_posts(&self.server.channel) {",
            ),
        ],
    ),
    mutation(
        "driver, sleep: looks before it sets its state",
        LOST,
        LINUX,
        &[
            (
                "        loop {\n            // A store",
                "        loop {\n            let has_posts = self.task.has_posts(&self.server.channel);
            // A store",
            ),
            (
                "            if self.task.has_posts(&self.server.channel) {",
                "            if has_posts {",
            ),
        ],
    ),
    mutation(
        "driver, sleep: no barrier between state and look",
        LOST,
        LINUX,
        &[(
            "            fence(Ordering::SeqCst);\n            // if",
            "            // if",
        )],
    ),
    mutation(
        "driver, sleep: does not look at pending vectors",
        LOST,
        LINUX,
        &[(
            "self.requests.load(Ordering::Relaxed) != 0 || pir",
            "pir",
        )],
    ),
    mutation(
        "Linux, wake-up: no barrier between posts and state",
        LOST,
        LINUX,
        &[(
            "        fence(Ordering::SeqCst);\n        if self.state",
            "        if self.state",
        )],
    ),
    mutation(
        "shadow: sleeps though the handler has seen the end",
        LOST,
        LINUX,
        &[("self.attend() == 0 && !is_over(self)", "self.attend() == 0")],
    ),
    mutation(
        "shadow: does not look into the ring before it sleeps",
        Harmless("whatever came was posted too: the sleep ends at once. The look spares system calls"),
        LINUX,
        &[("self.attend() == 0 && !is_over(self)", "!is_over(self)")],
    ),
    mutation(
        "shadow: notifies before it completes",
        LOST,
        CHANNEL,
        &[(
            "        let (number, notify) = self.serve(request);
        if notify {
            let channel = &self.channel;
            channel.machine.senduipi(&channel.client_upid, USER_VECTOR);
        }\n",
            "        let channel = &self.channel;
        channel.machine.senduipi(&channel.client_upid, USER_VECTOR);
        let (number, _) = self.serve(request);\n",
        )],
    ),
    mutation(
        "worker: says that it is done before the result is there",
        LOST,
        WORKERS,
        &[(
            "if self.done.fetch_or(1 << token, Ordering::AcqRel) == 0 {",
            "if self.done.fetch_or(1 << token, Ordering::Relaxed) == 0 {",
        )],
    ),
    mutation(
        "worker: leaves it to the other to wake the main thread",
        LOST,
        WORKERS,
        &[("Ordering::AcqRel) == 0 {", "Ordering::AcqRel) != 0 {")],
    ),
    mutation(
        "main thread: forgets results that come while it takes others",
        LOST,
        WORKERS,
        &[(
            "            _ => self.done.swap(0, Ordering::AcqRel),\n        };",
            "            some => {
                self.done.store(0, Ordering::Release);
                some
            }
        };",
        )],
    ),
    mutation(
        "driver, post: looks for the UPID without the lock",
        LOST,
        WORKERS,
        &[(
            "        let is_bound = self.0.lock().unwrap();
        // if (ctx->upid)",
            "        let is_bound = Box::new(*self.0.lock().unwrap());
        // if (ctx->upid)",
        )],
    ),
];
