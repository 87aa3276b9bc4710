//! Applications through one engine.

use qpmux_engine::policy::Policy;
use qpmux_sim::apps::{
    Adversity, App, EngineSetup, Load, Middlebox, Outcome, Plan, Switch, engine_config, run,
};
use qpmux_workloads::keys::KeyDistribution;

/// Code of the clients' timeout: 1 ms.
pub(crate) const TIMEOUT: u8 = 8;

/// Four machines that use few keys, and nothing goes wrong.
pub(crate) fn plan(app: App, operations: u64, policy: Policy, switches: Vec<Switch>) -> Plan {
    let setup = EngineSetup {
        policy,
        config: engine_config(TIMEOUT),
        shards: 1,
        big_endian: false,
        withheld: false,
        switches,
    };
    Plan {
        app,
        load: Load {
            threads: 16,
            machines: 4,
            keys: 16,
            distribution: KeyDistribution::Zipf { theta: 0.99 },
            operations,
        },
        seed: 7,
        middlebox: Middlebox::Engine(Box::new(setup)),
        loss: 0.0,
        timeout: TIMEOUT,
        retries: 64,
        around: 0,
        meddling_ns: None,
        adversity: Adversity::default(),
    }
}

/// A run in which every check holds, and every operation is done.
pub(crate) fn good(plan: &Plan) -> Outcome {
    let outcome = run(plan, &mut |_| {}).unwrap();
    assert!(outcome.is_good(), "{plan:#?}\n{}", outcome.render_text());
    assert_eq!(outcome.operations, plan.load.operations);
    outcome
}
