//! The watchdog: ends the program with an error when nothing has moved for too long.
//!
//! Owns one thread and a channel to it. A program that hangs is worse than one that fails: a
//! failed one says so.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// After this long without a sign of life, the program ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// The main thread's end of the channel. When it is dropped, the watchdog goes.
pub(crate) struct Watchdog {
    signs: Sender<&'static str>,
}

impl Watchdog {
    pub(crate) fn start() -> Self {
        let (signs, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut purpose = "the start";
            loop {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(next) => purpose = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let seconds = PATIENCE.as_secs();
                        eprintln!("error: waited {seconds} s for {purpose}, and nothing moved");
                        process::exit(1);
                    }
                }
            }
        });
        Self { signs }
    }

    /// Something has moved; what is waited for now has this purpose.
    pub(crate) fn all_is_well(&self, purpose: &'static str) {
        // The watchdog's thread ends only with the program.
        let _ = self.signs.send(purpose);
    }
}
