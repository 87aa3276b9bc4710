//! What the main thread does while the workers work: it takes signals and writes letters.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::crew::{Crew, CrewError, Stop, translated};
use crate::config::Settings;

/// How soon a second signal has to follow to be meant.
const MEANT_WITHIN: Duration = Duration::from_secs(10);

/// Who has the signals.
#[derive(Debug)]
pub struct Foreman<'a> {
    /// What the program was started with.
    settings: &'a Settings,
    /// The file that this is from.
    path: &'a Path,
    /// When a signal was refused that asked it to stop.
    refused: Option<Instant>,
}

impl<'a> Foreman<'a> {
    /// The foreman of a program with these settings, from that file.
    #[must_use]
    pub fn new(settings: &'a Settings, path: &'a Path) -> Foreman<'a> {
        Foreman { settings, path, refused: None }
    }

    /// A signal asks the program to stop. It does if nothing breaks, if it is told to do so anyway,
    /// or if it is the second one within a short time.
    pub fn on_stop(&mut self, crew: &mut Crew, signal: &str, now: Instant) {
        let meant =
            self.refused.is_some_and(|at| now.saturating_duration_since(at) <= MEANT_WITHIN);
        match crew.stop(meant) {
            Ok(Stop::Stops(breaks)) => {
                info!(breaks, "{signal}: stopping, {}", translated(breaks));
            }
            Ok(Stop::Refused(breaks)) => {
                self.refused = Some(now);
                warn!(
                    breaks,
                    "{signal}: not stopping: {} and would break; a second signal within 10 s stops \
                    all the same, and so does `ctl stop --force`; `ctl drain --wait` waits for \
                    their end",
                    translated(breaks)
                );
            }
            Err(error) => {
                error!("{signal}: stopping: {error}");
                crew.end();
            }
        }
    }

    /// The engines are switched to the policy that the file has now. What else has changed there is
    /// said to need a restart. A file that cannot be used, or engines that were not built for its
    /// policy, change nothing.
    pub fn on_reload(&self, crew: &mut Crew) {
        let name = self.path.display();
        if let Err(error) = self.reload(crew) {
            error!("{name}: {error:#}");
        }
    }

    fn reload(&self, crew: &mut Crew) -> anyhow::Result<()> {
        let name = self.path.display();
        let (before, _) = crew.policy()?;
        let reload = match self.settings.reload(self.path) {
            Ok(reload) => reload,
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(error.context(format!("the policy is still {before}")));
            }
        };
        for table in reload.restart {
            warn!("{name}: [{table}] has changed: that needs a restart");
        }
        match crew.switch(reload.choices) {
            Err(CrewError::Switch(error)) => {
                anyhow::bail!("{error}: that needs a restart; the policy is still {before}")
            }
            Err(error) => return Err(error.into()),
            Ok(()) if reload.choices == before => info!("{name}: the policy is still {before}"),
            Ok(()) => info!("{name}: {}, before: {before}", reload.choices),
        }
        Ok(())
    }
}
