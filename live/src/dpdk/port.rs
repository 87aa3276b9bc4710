//! One port of DPDK, with as many queues each way as there are workers.

use std::ffi::CString;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::null;

use qpmux_engine::Side;
use tracing::{info, warn};

use super::queue::Queue;
use super::{DpdkError, Eal, Pool};
use crate::subnets::Prefix;

/// Ethernet header and VLAN tag, which an MTU does not count.
const FRAME_OVERHEAD: usize = 18;

/// What a port is to be.
#[derive(Clone, Debug)]
pub struct PortPlan {
    /// Its name with its driver's arguments, as behind `--vdev` or `--allow` of any DPDK program.
    pub device: String,
    /// Queues each way.
    pub queues: u16,
    /// Frames that wait in each receive queue at most.
    pub receive_descriptors: u16,
    /// Frames that wait in each transmit queue at most.
    pub send_descriptors: u16,
    /// Longest frame in bytes, without frame check sequence.
    pub frame_len_max: usize,
    /// It takes in only what rules bring; all else is the kernel's.
    pub isolated: bool,
}

impl PortPlan {
    /// The device's name alone.
    fn name(&self) -> &str {
        self.device.split(',').next().unwrap_or_default()
    }
}

/// A running port. Dropped, it is stopped and closed.
#[derive(Debug)]
pub struct EthPort<'eal> {
    id: u16,
    queues: u16,
    address: [u8; 6],
    eal: PhantomData<&'eal Eal>,
}

impl<'eal> EthPort<'eal> {
    /// Attaches the device and starts its port, which fills buffers of `pool`. The servers are
    /// behind it, the clients, or (`None`) both.
    ///
    /// # Errors
    /// No such device, or what its driver refuses.
    pub fn open(
        _: &'eal Eal,
        plan: &PortPlan,
        side: Option<Side>,
        pool: &Pool<'eal>,
    ) -> Result<EthPort<'eal>, DpdkError> {
        let id = attach(plan)?;
        // From here on it is closed again if anything fails.
        let mut port = EthPort { id, queues: plan.queues, address: [0; 6], eal: PhantomData };
        if plan.isolated {
            // SAFETY: the port is there, and not configured.
            let result = unsafe { dpdk_sys::qpmux_isolate(port.id) };
            DpdkError::check(result, || format!("port {}", plan.name()), "rte_flow_isolate")?;
        }
        port.configure(plan, side)?;
        port.set_queues_up(plan, pool)?;
        port.start(plan)?;
        let [a, b, c, d, e, f] = port.address;
        let name = plan.name();
        info!("port {name}: address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        Ok(port)
    }

    fn configure(&mut self, plan: &PortPlan, side: Option<Side>) -> Result<(), DpdkError> {
        let name = plan.name();
        let info = self.info(plan)?;
        let most = info.max_rx_queues.min(info.max_tx_queues);
        if plan.queues > most {
            let why = format!("it has {most} queues, and each [[worker]] needs one");
            return Err(DpdkError::ours(format!("port {name}"), "rte_eth_dev_info_get", &why));
        }
        // The servers' addresses, which say whose a frame is.
        let mut spread = match side {
            Some(Side::Client) => dpdk_sys::qpmux_spread_QPMUX_SPREAD_DESTINATION,
            Some(Side::Server) => dpdk_sys::qpmux_spread_QPMUX_SPREAD_SOURCE,
            None => dpdk_sys::qpmux_spread_QPMUX_SPREAD_BOTH,
        };
        let mtu = mtu(plan, &info).unwrap_or(0);
        // SAFETY: the port is there and not started; the number is ours.
        let result =
            unsafe { dpdk_sys::qpmux_configure(self.id, plan.queues, mtu, &raw mut spread) };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_configure")?;
        if plan.queues > 1 && spread == dpdk_sys::qpmux_spread_QPMUX_SPREAD_NONE {
            info!("port {name}: its driver says by itself which frames come to which queue");
        }
        Ok(())
    }

    fn set_queues_up(&mut self, plan: &PortPlan, pool: &Pool<'eal>) -> Result<(), DpdkError> {
        let name = plan.name();
        let socket = self.socket();
        let (mut receive, mut send) = (plan.receive_descriptors, plan.send_descriptors);
        // SAFETY: both numbers are ours, and changed to what the port can do.
        let result = unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &raw mut receive, &raw mut send)
        };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_adjust_nb_rx_tx_desc")?;
        for queue in 0..plan.queues {
            // SAFETY: the port is configured for this queue; without a configuration of its own it
            // has its driver's default; the pool stays as long as the environment.
            let result = unsafe {
                let pool = pool.as_raw();
                dpdk_sys::rte_eth_rx_queue_setup(self.id, queue, receive, socket, null(), pool)
            };
            DpdkError::check(result, || format!("port {name}"), "rte_eth_rx_queue_setup")?;
            // SAFETY: as above. No offload is on, so buffers with two owners may be sent.
            let result =
                unsafe { dpdk_sys::rte_eth_tx_queue_setup(self.id, queue, send, socket, null()) };
            DpdkError::check(result, || format!("port {name}"), "rte_eth_tx_queue_setup")?;
        }
        Ok(())
    }

    fn start(&mut self, plan: &PortPlan) -> Result<(), DpdkError> {
        let name = plan.name();
        // SAFETY: the port is configured.
        let result = unsafe { dpdk_sys::rte_eth_dev_start(self.id) };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_start")?;
        // SAFETY: the port is started.
        if !plan.isolated && unsafe { dpdk_sys::rte_eth_promiscuous_enable(self.id) } < 0 {
            warn!("port {name}: takes in only what is addressed to it: no promiscuous mode");
        }
        let mut address = MaybeUninit::<dpdk_sys::rte_ether_addr>::zeroed();
        // SAFETY: the address is written before the call returns; zeros are one, too.
        self.address = unsafe {
            dpdk_sys::rte_eth_macaddr_get(self.id, address.as_mut_ptr());
            address.assume_init().addr_bytes
        };
        Ok(())
    }

    /// Has the port itself bring packets of servers in `prefix` to a worker's queue, as far as it
    /// can: those from there, or those to there. What it does not bring is handed over.
    ///
    /// # Errors
    /// What the driver says.
    pub fn bring(
        &self,
        plan: &PortPlan,
        prefix: &Prefix,
        from: bool,
        queue: u16,
    ) -> Result<(), DpdkError> {
        let subnet = dpdk_sys::qpmux_subnet {
            address: prefix.address,
            mask: prefix.mask,
            is_ipv6: prefix.is_ipv6.into(),
            is_source: from.into(),
            only_rocev2: plan.isolated.into(),
        };
        // SAFETY: the port is started, the subnet is read during the call.
        let result = unsafe { dpdk_sys::qpmux_bring(self.id, &raw const subnet, queue) };
        DpdkError::check(result, || format!("port {}", plan.name()), "rte_flow_create").map(drop)
    }

    fn info(&self, plan: &PortPlan) -> Result<dpdk_sys::rte_eth_dev_info, DpdkError> {
        let mut info = MaybeUninit::<dpdk_sys::rte_eth_dev_info>::zeroed();
        // SAFETY: the port is there; what is not written stays zero, which is a value of it.
        let (result, info) = unsafe {
            let result = dpdk_sys::rte_eth_dev_info_get(self.id, info.as_mut_ptr());
            (result, info.assume_init())
        };
        DpdkError::check(result, || format!("port {}", plan.name()), "rte_eth_dev_info_get")?;
        Ok(info)
    }

    /// Its NUMA node; negative: any.
    fn socket(&self) -> u32 {
        // SAFETY: asks for a number. -1, any, is the same number without a sign in setups.
        unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id) as u32 }
    }

    /// Its queues, each for one thread. There are no others while these are.
    pub fn queues(&mut self) -> impl Iterator<Item = Queue<'_>> {
        let (id, address) = (self.id, self.address);
        (0..self.queues).map(move |number| Queue::new(id, number, address))
    }
}

impl Drop for EthPort<'_> {
    fn drop(&mut self) {
        // SAFETY: the port is ours, its queues are gone, and the environment is still there.
        // Stopping one that was not started does nothing.
        unsafe {
            dpdk_sys::rte_eth_dev_stop(self.id);
            dpdk_sys::rte_eth_dev_close(self.id);
        }
    }
}

/// The MTU for frames of the configured length, as far as the port can; `None`: it does not say.
fn mtu(plan: &PortPlan, info: &dpdk_sys::rte_eth_dev_info) -> Option<u32> {
    let wanted = u16::try_from(plan.frame_len_max - FRAME_OVERHEAD).unwrap_or(u16::MAX);
    let known = (1..u16::MAX).contains(&info.max_mtu);
    if known && wanted > info.max_mtu {
        let (name, max) = (plan.name(), info.max_mtu);
        warn!("port {name}: its MTU is at most {max}, limits.frame_len_max is for {wanted}");
    }
    known.then(|| wanted.min(info.max_mtu).max(info.min_mtu).into())
}

/// The number of the device's port; a device that is not there yet is attached.
fn attach(plan: &PortPlan) -> Result<u16, DpdkError> {
    let call = "rte_dev_probe";
    let name = plan.name();
    let what = || format!("no port '{name}'");
    let text = |text: &str| {
        CString::new(text).map_err(|_| DpdkError::ours(what(), call, "a zero byte in its name"))
    };
    let (c_name, device) = (text(name)?, text(&plan.device)?);
    let find = || {
        let mut id = 0;
        // SAFETY: the name is a text, the number is ours.
        let result =
            unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
        (result == 0).then_some(id)
    };
    if let Some(id) = find() {
        return Ok(id);
    }
    // SAFETY: a text, read during the call.
    DpdkError::check(unsafe { dpdk_sys::rte_dev_probe(device.as_ptr()) }, what, call)?;
    find().ok_or_else(|| DpdkError::ours(what(), call, "the device has no port of this name"))
}
