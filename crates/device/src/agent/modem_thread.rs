//! A modem on a thread of its own: a serial module may take seconds for a line, and nobody else waits for it.

use std::fmt;
use std::io;
use std::sync::mpsc as jobs;

use sectag_modem::{LineError, Modem};
use tokio::sync::oneshot;

use super::carry::Reach;

/// The way to a modem that lives on its own thread. Clones lead to the same one; work is done in the order of arrival.
/// The thread ends, and drops the modem, when the last clone is gone and its last line is answered.
#[derive(Clone)]
pub struct ModemThread {
    jobs: jobs::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut dyn Modem) + Send>;

impl ModemThread {
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(mut modem: Box<dyn Modem + Send>) -> io::Result<Self> {
        let (sender, receiver) = jobs::channel::<Job>();
        std::thread::Builder::new()
            .name("modem".to_owned())
            .spawn(move || {
                for job in receiver {
                    job(&mut *modem);
                }
            })?;
        Ok(Self { jobs: sender })
    }

    /// Does `work` on the modem's thread.
    ///
    /// # Errors
    /// [`LineError::Port`]: the thread is gone.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Modem) -> T + Send + 'static,
    ) -> Result<T, LineError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |modem| {
            // Who does not wait for the answer any more does not need it.
            let _ = answer.send(work(modem));
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// As [`ModemThread::with`], for callers that may wait.
    ///
    /// # Errors
    /// [`LineError::Port`]: the thread is gone.
    pub fn with_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Modem) -> T + Send + 'static,
    ) -> Result<T, LineError> {
        let (answer, answered) = jobs::sync_channel(1);
        let job: Job = Box::new(move |modem| {
            let _ = answer.send(work(modem));
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }
}

impl Reach for ModemThread {
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Modem) -> T + Send + 'static,
    ) -> Result<T, LineError> {
        Self::with(self, work).await
    }
}

impl Modem for ModemThread {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        let at = zeroize::Zeroizing::new(at.to_owned());
        self.with_blocking(move |modem| modem.line(&at))?
    }

    fn notifications(&mut self) -> Vec<String> {
        self.with_blocking(|modem| modem.notifications())
            .unwrap_or_default()
    }

    fn reboot(&mut self) {
        let _ = self.with_blocking(|modem| modem.reboot());
    }
}

impl fmt::Debug for ModemThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModemThread")
    }
}

fn gone() -> LineError {
    LineError::Port(io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the modem's thread has ended",
    ))
}
