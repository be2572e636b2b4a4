// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the shell remembers, and how it runs a line.

use nimbos_apps::file::{self, File};
use nimbos_apps::process;
use nimbos_apps::shell::{Command, Connector, Job, Pipeline, Script, Variables, Words};
use nimbos_apps::{Error, eprintln};

use crate::background::Background;
use crate::builtins::{self, Builtin};
use crate::{USAGE, child};

/// Most commands of a pipeline.
const MAX_COMMANDS: usize = 16;

/// The shell.
#[derive(Default)]
pub struct Shell {
    variables: Variables,
    /// What runs in the background.
    pub background: Background,
}

/// What comes after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next one.
    Continue,
    /// The end, with this status.
    Exit(i32),
}

impl Shell {
    /// Returns the status of the last command.
    pub fn status(&self) -> i32 {
        self.variables.status
    }

    /// Makes `status` that of the last command.
    pub fn set_status(&mut self, status: i32) {
        self.variables.status = status;
    }

    /// Runs a line.
    pub fn run_line(&mut self, line: &str) -> Flow {
        self.background.take_ended();
        let script = match Script::parse(line) {
            Ok(script) => script,
            Err(error) => {
                eprintln!("sh: {error}");
                self.set_status(USAGE);
                return Flow::Continue;
            }
        };
        for job in script.jobs() {
            if job.is_background {
                self.start_job(job);
            } else if let Flow::Exit(status) = self.run_job(job) {
                return Flow::Exit(status);
            }
        }
        Flow::Continue
    }

    /// Starts a job in the background: in a shell of its own, unless it is one command, which is then the process that can be
    /// killed and waited for.
    fn start_job(&mut self, job: Job<'_, '_>) {
        if !self.background.make_room() {
            eprintln!("sh: too many processes in the background");
            return self.set_status(1);
        }
        let variables = self.variables;
        let started = process::run(|| {
            child::detach_input();
            let mut shell = Self {
                variables,
                background: Background::default(),
            };
            if let Some(command) = job.only_command()
                && shell.builtin(command).is_none()
            {
                return child::main(command, variables, child::Ends::NONE);
            }
            match shell.run_job(job) {
                Flow::Continue => shell.status(),
                Flow::Exit(status) => status,
            }
        });
        match started {
            Ok(process) => {
                self.background.add(process);
                self.variables.background = Some(process);
                self.set_status(0);
            }
            Err(error) => self.fail(error),
        }
    }

    fn run_job(&mut self, job: Job<'_, '_>) -> Flow {
        for (connector, pipeline) in job.pipelines() {
            let is_wanted = match connector {
                Connector::Always => true,
                Connector::IfSucceeded => self.status() == 0,
                Connector::IfFailed => self.status() != 0,
            };
            if is_wanted && let Flow::Exit(status) = self.run_pipeline(pipeline) {
                return Flow::Exit(status);
            }
        }
        Flow::Continue
    }

    fn run_pipeline(&mut self, pipeline: Pipeline<'_, '_>) -> Flow {
        let count = pipeline.commands().count();
        if count > MAX_COMMANDS {
            eprintln!("sh: more than {MAX_COMMANDS} commands in a pipeline");
            self.set_status(USAGE);
            return Flow::Continue;
        }
        if count == 1
            && let Some(command) = pipeline.commands().next()
            && let Some((builtin, words)) = self.builtin(command)
        {
            return builtins::run(self, builtin, command, &words);
        }
        self.run_children(pipeline);
        Flow::Continue
    }

    /// Returns the command if it is one that changes the shell, with its words.
    fn builtin(&self, command: Command<'_, '_>) -> Option<(Builtin, Words)> {
        // A command that is too long is refused where it is run.
        let words = Words::expand(command.words(), self.variables).ok()?;
        let builtin = builtins::find(words.get(0)?)?;
        Some((builtin, words))
    }

    /// Runs each command in a process of its own, and waits for all of them.
    fn run_children(&mut self, pipeline: Pipeline<'_, '_>) {
        let mut children = [0; MAX_COMMANDS];
        let mut started = 0;
        let mut input = None;
        let mut commands = pipeline.commands().peekable();
        let result = loop {
            let Some(command) = commands.next() else {
                break Ok(());
            };
            match self.start(command, input, commands.peek().is_some()) {
                Ok((process, next_input)) => {
                    children[started] = process;
                    started += 1;
                    input = next_input;
                }
                Err(error) => break Err(error),
            }
        };
        for &process in &children[..started] {
            match process::wait(process) {
                Ok(status) => self.set_status(status.0),
                Err(error) => self.fail(error),
            }
        }
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// Starts a command that reads `input`, which is closed here, and writes to a pipe if another one follows. Returns
    /// the process and the pipe's other end.
    fn start(
        &self,
        command: Command<'_, '_>,
        input: Option<File>,
        is_followed: bool,
    ) -> Result<(u32, Option<File>), Error> {
        let pipe = if is_followed {
            file::pipe().map(Some)
        } else {
            Ok(None)
        };
        let started = pipe.and_then(|pipe| {
            let ends = child::Ends {
                input,
                output: pipe.map(|(_, to)| to),
                not_ours: pipe.map(|(from, _)| from),
            };
            let started = process::run(|| child::main(command, self.variables, ends));
            if let Some((from, to)) = pipe {
                close(to);
                if started.is_err() {
                    close(from);
                }
            }
            Ok((started?, pipe.map(|(from, _)| from)))
        });
        if let Some(input) = input {
            close(input);
        }
        started
    }

    /// Says why something could not be done.
    pub fn fail(&mut self, error: Error) {
        eprintln!("sh: {error}");
        self.set_status(1);
    }

    /// Returns what words may stand for.
    pub fn variables(&self) -> Variables {
        self.variables
    }
}

/// Closes a file that was only handed on.
pub fn close(file: File) {
    if let Err(error) = file.close() {
        eprintln!("sh: cannot close a file: {error}");
    }
}
