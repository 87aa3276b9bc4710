//! On SIGHUP: the configuration is read again, and the engine switched to the policy there.

use std::path::Path;

use tracing::{error, info, warn};

use crate::config::Settings;
use crate::driver::Driver;
use crate::host::Host;

/// Switches the engine to the policy that the file has now. The engine was started with
/// `settings`, from the same file; what else has changed there is said to need a restart. A file
/// that cannot be used, or an engine that was not built for its policy, changes nothing.
pub fn reload<D: Driver>(host: &mut Host<D>, settings: &Settings, path: &Path) {
    let name = path.display();
    let before = host.engine().choices();
    let reload = match settings.reload(path) {
        Ok(reload) => reload,
        Err(error) => {
            let error = anyhow::Error::new(error);
            return error!("{name}: the policy is still {before}: {error:#}");
        }
    };
    for table in reload.restart {
        warn!("{name}: [{table}] has changed: that needs a restart");
    }
    match host.switch(reload.choices) {
        Err(error) => error!("{name}: {error}: that needs a restart; the policy is still {before}"),
        Ok(()) if reload.choices == before => info!("{name}: the policy is still {before}"),
        Ok(()) => info!("{name}: {}, before: {before}", reload.choices),
    }
}
