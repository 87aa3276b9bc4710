//! What a network does to packets that meet in it, and what adapters do about that, as numbers.

use super::{Named, parameters};

parameters! {
    /// A switch's queues, and congestion control (DCQCN: Zhu et al., SIGCOMM 2015).
    Network;

    /// Bytes that wait for a port of the switch at most; what comes beyond is dropped.
    queue_bytes: 10000..=1000000000,
    /// Queue up to which no packet is marked.
    ecn_kmin_bytes: 0..=1000000000,
    /// Queue from which every packet is marked.
    ecn_kmax_bytes: 0..=1000000000,
    /// Share of packets that is marked just below that.
    ecn_pmax_share: 0..=1,
    /// Time from one notification of a queue pair to its next one, at least.
    cnp_interval_ns: 0..=1000000000,
    /// Weight of the newest in the estimate of congestion (g).
    alpha_gain_share: 0..=1,
    /// Time without a notification after which the estimate of congestion falls (K).
    alpha_timer_ns: 1..=1000000000,
    /// Time without a notification after which the rate rises.
    rate_timer_ns: 1..=1000000000,
    /// Bytes without a notification after which the rate rises.
    rate_counter_bytes: 1..=1000000000,
    /// Rises that halve the way back to the rate before (F).
    recovery_count: 0..=1000,
    /// By how much the target rises then (R_AI).
    additive_gbps: 0..=1000,
    /// By how much it rises when both timer and counter are beyond that (R_HAI).
    hyper_gbps: 0..=1000,
    /// The rate that a queue pair is never slower than.
    least_gbps: 0.001..=1000,
}

const NETWORKS: Named =
    Named::new("network", &[("network", include_str!("../../presets/network.toml"))]);

impl Default for Network {
    /// The preset's numbers; which of them nobody has looked up, it says.
    fn default() -> Self {
        let loaded = NETWORKS.load("network").expect("tested");
        loaded.params(Self::from_sourced).expect("tested")
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn the_preset_can_be_read() {
        let network = Network::default();
        assert!(network.ecn_kmin_bytes < network.ecn_kmax_bytes);
        assert!(network.ecn_kmax_bytes < network.queue_bytes);
        assert!(network.cnp_interval_ns < network.alpha_timer_ns);
    }
}
