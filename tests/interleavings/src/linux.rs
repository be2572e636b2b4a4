// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux: the driver's part of a context switch and of a sleep, the scheduler's sleep and wake-up, the shadow process.
//!
//! Statements of the driver and of the shadow process stand in comments beside the lines that model them; `sources`
//! compares the two orders.
//! Linux's value-returning atomics are fully ordered, which is at least what loom makes of SeqCst here; its
//! `atomic64_read` is relaxed. Interrupts are taken at [`Shadow::boundary`] only: where the driver has them disabled,
//! there is none. Two things are freer than in Linux, so that more can go wrong: the wake-up vector's handler runs beside
//! the thread at any time, as if on another CPU, and without `wait_lock`.

use std::sync::Arc;

use forward_ring::Server;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use crate::channel::{Channel, End};
use crate::processor::{self, Parking, SN, STOP, UINV, WAKEUP};
use crate::workers::{DONE_VECTOR, Desks};

const TASK_RUNNING: u32 = 0;
const TASK_INTERRUPTIBLE: u32 = 1;

/// What the wake-up vector's handler sees of a thread: `struct isthmus_context` and `struct task_struct`.
#[derive(Debug)]
pub struct Task {
    /// On the list of those that wait.
    listed: AtomicBool,
    /// UIRR while not loaded.
    requests: AtomicU64,
    /// Changed by exchanges, because loom does not put plain stores of several threads into one order.
    state: AtomicU32,
    asleep: Parking,
}

impl Task {
    /// Makes a thread that runs and does not wait.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            listed: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            state: AtomicU32::new(TASK_RUNNING),
            asleep: Parking::default(),
        })
    }

    /// `has_posts`.
    fn has_posts(&self, channel: &Channel) -> bool {
        let (_, pir) = channel.server_upid.words();
        // return ctx->requests || atomic64_read(&ctx->upid->pir);
        self.requests.load(Ordering::Relaxed) != 0 || pir.load(Ordering::Relaxed) != 0
    }

    /// `schedule`: sleeps as long as the state says so. Linux looks at it under a lock, which the waker takes too.
    fn schedule(&self) {
        self.asleep.park_until(|| {
            let state = self.state.fetch_or(0, Ordering::Acquire);
            (state != TASK_INTERRUPTIBLE).then_some(())
        });
    }

    /// `wake_up_process`: a full barrier, then the state. (kernel/sched/core.c, `try_to_wake_up`)
    fn wake_up(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == TASK_INTERRUPTIBLE {
            self.state.swap(TASK_RUNNING, Ordering::Relaxed);
            self.asleep.end();
        }
    }
}

/// Linux's CPUs as far as they take the wake-up vector. Ends with [`Shadow::end`].
pub fn wakeup_interrupts(channel: &Channel, task: &Task) {
    loop {
        match channel.machine.wakeup.halt() {
            STOP => return,
            WAKEUP => wake_receivers(channel, task),
            vector => panic!("unexpected interrupt {vector}"),
        }
    }
}

fn wake_receivers(channel: &Channel, task: &Task) {
    // list_for_each_entry(ctx, &waiters, wait_node)
    if task.listed.load(Ordering::Relaxed) {
        // if (has_posts(ctx))
        if task.has_posts(channel) {
            // wake_up_process(ctx->task);
            task.wake_up();
        }
    }
}

/// The shadow process's thread, on a CPU of Linux. It runs on the current thread.
#[derive(Debug)]
pub struct Shadow {
    server: End<Server>,
    task: Arc<Task>,
    cpu: usize,
    loaded: bool,
    uirr: u64,
    uif: bool,
    /// Number of calls served; the next one has this number.
    pub served: u32,
    /// User vectors that were delivered.
    pub delivered: u64,
    /// Whether completions are notified.
    replies: bool,
    /// Where workers put results, if there are any.
    desks: Option<Arc<Desks>>,
    /// Results taken, a bit for each worker.
    pub results: u32,
}

impl Shadow {
    /// Starts on CPU 0 with UIF set. `replies`: completions are notified.
    pub fn start(channel: &Arc<Channel>, task: &Arc<Task>, replies: bool) -> Self {
        let mut shadow = Self {
            server: channel.server(),
            task: Arc::clone(task),
            cpu: 0,
            loaded: false,
            uirr: 0,
            uif: true,
            served: 0,
            delivered: 0,
            replies,
            desks: None,
            results: 0,
        };
        shadow.context_load();
        shadow
    }

    /// Gives it workers.
    pub fn with_workers(mut self, desks: &Arc<Desks>) -> Self {
        self.desks = Some(Arc::clone(desks));
        self
    }

    /// Ends, and with it [`wakeup_interrupts`].
    pub fn end(self) {
        self.server.channel.machine.wakeup.raise(STOP);
    }

    /// Serves until `calls` are served, asleep in between. `wakes_at` is the CPU on which a sleep ends.
    pub fn serve_waiting(&mut self, calls: u32, wakes_at: usize) {
        self.wait_until(|shadow| shadow.served >= calls, wakes_at);
    }

    /// The same until it has the results of these workers.
    pub fn take_results_waiting(&mut self, workers: u32, wakes_at: usize) {
        self.wait_until(|shadow| shadow.results & workers == workers, wakes_at);
    }

    /// `serve` of serve.rs: spins a little, looks for work, sleeps.
    fn wait_until(&mut self, is_over: impl Fn(&Self) -> bool, wakes_at: usize) {
        while !is_over(self) {
            // let unmasked = masked.unmask();
            self.unmask();
            // spin(options, patience);
            self.boundary();
            // masked = unmasked.mask();
            self.mask();
            // if !masked.service().attend()
            // && !handler::wants_main_thread()
            if self.attend() == 0 && !is_over(self) {
                // device.wait(patience.as_micros() as u64)?;
                self.wait(wakes_at);
            }
        }
    }

    /// `serve` of serve.rs with `--idle spin`, until `calls` are served.
    pub fn serve_spinning(&mut self, calls: u32) {
        while self.served < calls {
            self.spin();
        }
    }

    /// Spins until it has the results of these workers.
    pub fn take_results_spinning(&mut self, workers: u32) {
        while self.results & workers != workers {
            self.boundary();
            if self.results & workers != workers {
                self.server.channel.machine.uinv[self.cpu].wait_until_pending();
            }
        }
    }

    /// Runs until a user vector has been delivered.
    pub fn spin(&mut self) {
        let before = self.delivered.count_ones() + self.served;
        self.boundary();
        while self.delivered.count_ones() + self.served == before {
            self.server.channel.machine.uinv[self.cpu].wait_until_pending();
            self.boundary();
        }
    }

    /// STUI.
    pub fn unmask(&mut self) {
        self.uif = true;
        self.deliver();
    }

    /// CLUI.
    pub fn mask(&mut self) {
        self.uif = false;
    }

    /// Between two instructions with interrupts enabled.
    pub fn boundary(&mut self) {
        self.take_interrupts();
        self.deliver();
    }

    /// Off this CPU and, later, onto CPU `cpu`.
    pub fn switch_to(&mut self, cpu: usize) {
        self.switch_with(cpu, || {});
    }

    /// Off this CPU, where another thread does something, and, later, onto CPU `cpu`.
    pub fn switch_with(&mut self, cpu: usize, other: impl FnOnce()) {
        self.context_unload();
        self.take_interrupts();
        other();
        self.cpu = cpu;
        self.take_interrupts();
        self.context_load();
        self.deliver();
    }

    /// The processor takes UINV: processing if the thread's state is loaded. If not, UINV is 0, and the kernel's own
    /// handler only acknowledges.
    fn take_interrupts(&mut self) {
        if let Some(vector) = self.server.channel.machine.uinv[self.cpu].accept() {
            assert_eq!(vector, UINV);
            if self.loaded {
                self.uirr |= processor::process_notification(&self.server.channel.server_upid);
            }
        }
    }

    /// Delivers what is pending, highest first. (SDM 3A, "User-Interrupt Delivery")
    fn deliver(&mut self) {
        while self.loaded
            && self.uif
            && let Some(vector) = self.uirr.checked_ilog2()
        {
            self.uirr &= !(1 << vector);
            self.delivered |= 1 << vector;
            self.uif = false;
            // if vector == u64::from(DONE_VECTOR)
            if vector == u32::from(DONE_VECTOR) {
                self.take_results();
            } else {
                self.drain();
            }
            self.uif = true;
        }
    }

    /// `Service::attend`: returns how much there was to do.
    fn attend(&mut self) -> usize {
        // let mut work = self.take_results();
        let work = self.take_results();
        // work += self.drain(ring, counters::Server::MainThread);
        work + self.drain()
    }

    /// `Service::take_results`.
    fn take_results(&mut self) -> usize {
        let Some(desks) = &self.desks else { return 0 };
        let taken = desks.take_done();
        assert_eq!(self.results & taken, 0, "a result came twice");
        self.results |= taken;
        taken.count_ones() as usize
    }

    /// `Service::drain`.
    fn drain(&mut self) -> usize {
        let mut served = 0;
        while let Some(request) = self.server.next().unwrap() {
            let number = if self.replies {
                self.server.serve_and_notify(request)
            } else {
                self.server.serve(request).0
            };
            assert_eq!(number, self.served);
            self.served += 1;
            served += 1;
        }
        served
    }

    /// `isthmus_upid_control`.
    fn upid_control(&self, nv: u8) -> u64 {
        (self.cpu as u64) << 32 | u64::from(nv) << 16
    }

    /// `isthmus_context_load`.
    fn context_load(&mut self) {
        let (control, pir) = self.server.channel.server_upid.words();
        // atomic64_xchg(&ctx->upid->control, isthmus_upid_control(ISTHMUS_UINV));
        control.swap(self.upid_control(UINV), Ordering::SeqCst);
        // posted = atomic64_xchg(&ctx->upid->pir, 0);
        let posted = pir.swap(0, Ordering::SeqCst);
        // isthmus_cpu_start(ctx->requests | posted, ctx->uif);
        self.uirr = self.task.requests.load(Ordering::Relaxed) | posted;
        // ctx->requests = 0;
        self.task.requests.store(0, Ordering::Relaxed);
        self.loaded = true;
    }

    /// `isthmus_context_unload`.
    fn context_unload(&mut self) {
        if !self.loaded {
            return;
        }
        let (control, _) = self.server.channel.server_upid.words();
        // atomic64_or(UPID_SN, &ctx->upid->control);
        control.fetch_or(SN, Ordering::SeqCst);
        // isthmus_cpu_stop(&ctx->requests, &ctx->uif);
        self.task.requests.store(self.uirr, Ordering::Relaxed);
        self.uirr = 0;
        self.loaded = false;
    }

    /// `isthmus_wait`.
    fn wait(&mut self, wakes_at: usize) {
        // With UIF clear and interrupts enabled: what comes now stays in UIRR.
        self.boundary();
        // start_waiting(ctx);
        self.start_waiting();
        self.take_interrupts();
        // ret = sleep_until_posted(ctx, deadline);
        self.sleep_until_posted();
        self.cpu = wakes_at;
        // stop_waiting(ctx);
        self.stop_waiting();
    }

    fn start_waiting(&mut self) {
        // isthmus_context_unload(ctx);
        self.context_unload();
        // ctx->waiting = true;
        // list_add(&ctx->wait_node, &waiters);
        self.task.listed.store(true, Ordering::Relaxed);
        let (control, _) = self.server.channel.server_upid.words();
        // atomic64_xchg(&ctx->upid->control, isthmus_upid_control(POSTED_INTR_WAKEUP_VECTOR));
        control.swap(self.upid_control(WAKEUP), Ordering::SeqCst);
    }

    fn stop_waiting(&mut self) {
        // list_del(&ctx->wait_node);
        self.task.listed.store(false, Ordering::Relaxed);
        // ctx->waiting = false;
        // isthmus_context_load(ctx);
        self.context_load();
    }

    fn sleep_until_posted(&self) {
        loop {
            // A store and a full barrier.
            // set_current_state(TASK_INTERRUPTIBLE);
            self.task.state.swap(TASK_INTERRUPTIBLE, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // if (has_posts(ctx))
            if self.task.has_posts(&self.server.channel) {
                break;
            }
            // Without the timer.
            // slept_out = !schedule_hrtimeout(&expires, HRTIMER_MODE_ABS);
            self.task.schedule();
        }
        // __set_current_state(TASK_RUNNING);
        self.task.state.swap(TASK_RUNNING, Ordering::Relaxed);
    }
}
