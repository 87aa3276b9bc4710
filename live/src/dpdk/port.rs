//! One port of DPDK, with one queue each way.

use std::ffi::CString;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use arrayvec::ArrayVec;
use qpmux_engine::BURST_MAX;
use tracing::{info, warn};

use super::eal::Timestamps;
use super::{DpdkError, Eal, Mbuf, Pool};
use crate::driver::Held;

/// The only queue.
const QUEUE: u16 = 0;
/// Ethernet header and VLAN tag, which an MTU does not count.
const FRAME_OVERHEAD: usize = 18;

/// What a port is to be.
#[derive(Clone, Debug)]
pub struct PortPlan {
    /// Its name with its driver's arguments, as behind `--vdev` or `--allow` of any DPDK program.
    pub device: String,
    /// Frames that wait in its receive queue at most.
    pub receive_descriptors: u16,
    /// Frames that wait in its transmit queue at most.
    pub send_descriptors: u16,
    /// Longest frame in bytes, without frame check sequence.
    pub frame_len_max: usize,
}

impl PortPlan {
    /// The device's name alone.
    fn name(&self) -> &str {
        self.device.split(',').next().unwrap_or_default()
    }
}

/// A frame as a port hands it over.
pub(super) struct Raw<'eal> {
    pub(super) held: Held<Mbuf<'eal>>,
    /// When it came in, in the driver's own unit, if it tells.
    pub(super) timestamp: Option<u64>,
    /// Whether the buffer has all of the frame, and no other owner.
    pub(super) whole: bool,
}

/// A running port. Dropped, it is stopped and closed.
#[derive(Debug)]
pub struct EthPort<'eal> {
    id: u16,
    address: [u8; 6],
    eal: PhantomData<&'eal Eal>,
}

impl<'eal> EthPort<'eal> {
    /// Attaches the device and starts its port, which fills buffers of `pool`.
    ///
    /// # Errors
    /// No such device, or what its driver refuses.
    pub fn open(
        _: &'eal Eal,
        plan: &PortPlan,
        pool: &Pool<'eal>,
    ) -> Result<EthPort<'eal>, DpdkError> {
        let id = attach(plan)?;
        // From here on it is closed again if anything fails.
        let mut port = EthPort { id, address: [0; 6], eal: PhantomData };
        port.configure(plan, pool)?;
        port.start(plan)?;
        let [a, b, c, d, e, f] = port.address;
        let name = plan.name();
        info!("port {name}: address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        Ok(port)
    }

    fn configure(&mut self, plan: &PortPlan, pool: &Pool<'eal>) -> Result<(), DpdkError> {
        let name = plan.name();
        let socket = self.socket();
        let mut conf = zeroed_conf();
        if let Some(mtu) = self.mtu(plan)? {
            conf.rxmode.mtu = mtu;
        }
        // SAFETY: the port is there and not started; the configuration is read during the call.
        let result = unsafe { dpdk_sys::rte_eth_dev_configure(self.id, 1, 1, &raw const conf) };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_configure")?;
        let (mut receive, mut send) = (plan.receive_descriptors, plan.send_descriptors);
        // SAFETY: both numbers are ours, and changed to what the port can do.
        let result = unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &raw mut receive, &raw mut send)
        };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_adjust_nb_rx_tx_desc")?;
        // SAFETY: the port is configured for this queue; without a configuration of its own it has
        // its driver's default; the pool stays as long as the environment.
        let result = unsafe {
            let (queue, pool) = (QUEUE, pool.as_raw());
            dpdk_sys::rte_eth_rx_queue_setup(self.id, queue, receive, socket, null(), pool)
        };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_rx_queue_setup")?;
        // SAFETY: as above. No offload is on, so buffers with two owners may be sent.
        let result =
            unsafe { dpdk_sys::rte_eth_tx_queue_setup(self.id, QUEUE, send, socket, null()) };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_tx_queue_setup").map(drop)
    }

    fn start(&mut self, plan: &PortPlan) -> Result<(), DpdkError> {
        let name = plan.name();
        // SAFETY: the port is configured.
        let result = unsafe { dpdk_sys::rte_eth_dev_start(self.id) };
        DpdkError::check(result, || format!("port {name}"), "rte_eth_dev_start")?;
        // SAFETY: the port is started.
        if unsafe { dpdk_sys::rte_eth_promiscuous_enable(self.id) } < 0 {
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

    /// The MTU for frames of the configured length, as far as the port can; `None`: it does not
    /// say.
    fn mtu(&self, plan: &PortPlan) -> Result<Option<u32>, DpdkError> {
        let mut info = MaybeUninit::<dpdk_sys::rte_eth_dev_info>::zeroed();
        // SAFETY: the port is there; what is not written stays zero, which is a value of it.
        let (result, info) = unsafe {
            let result = dpdk_sys::rte_eth_dev_info_get(self.id, info.as_mut_ptr());
            (result, info.assume_init())
        };
        DpdkError::check(result, || format!("port {}", plan.name()), "rte_eth_dev_info_get")?;
        let wanted = u16::try_from(plan.frame_len_max - FRAME_OVERHEAD).unwrap_or(u16::MAX);
        let known = (1..u16::MAX).contains(&info.max_mtu);
        if known && wanted > info.max_mtu {
            let (name, max) = (plan.name(), info.max_mtu);
            warn!("port {name}: its MTU is at most {max}, limits.frame_len_max is for {wanted}");
        }
        Ok(known.then(|| wanted.min(info.max_mtu).max(info.min_mtu).into()))
    }

    /// Its NUMA node; negative: any.
    fn socket(&self) -> u32 {
        // SAFETY: asks for a number. -1, any, is the same number without a sign in setups.
        unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id) as u32 }
    }

    /// Its Ethernet address.
    #[must_use]
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Takes frames in, at most `most`.
    pub(super) fn receive(
        &mut self,
        timestamps: Timestamps,
        most: usize,
        mut take: impl FnMut(Raw<'eal>),
    ) {
        let mut views = [const { MaybeUninit::<dpdk_sys::qpmux_frame>::uninit() }; BURST_MAX];
        let most = most.min(BURST_MAX) as u16;
        // SAFETY: room for `most` views, of which as many are written as the call says.
        let many = unsafe {
            let first = views.as_mut_ptr().cast();
            dpdk_sys::qpmux_rx_burst(self.id, QUEUE, timestamps, first, most)
        };
        for view in views.iter().take(usize::from(many)) {
            // SAFETY: it was written, and its reference is given to us.
            let (view, mbuf) = unsafe {
                let view = view.assume_init_ref();
                (view, Mbuf::of(view))
            };
            if let Some(buffer) = mbuf {
                let held = Held { buffer, start: view.start.into(), len: view.len as usize };
                let timestamp = (view.timed != 0).then_some(view.timestamp);
                take(Raw { held, timestamp, whole: view.whole != 0 });
            }
        }
    }

    /// Sends frames from the front of the list, as many as the port takes, and takes them out of
    /// it. How many.
    pub(super) fn send<const N: usize>(
        &mut self,
        frames: &mut ArrayVec<Held<Mbuf<'eal>>, N>,
    ) -> usize {
        let mut sent = 0;
        while sent < frames.len() {
            let views: ArrayVec<_, BURST_MAX> =
                frames.iter().skip(sent).take(BURST_MAX).map(view).collect();
            let many = views.len();
            // SAFETY: whole frames of ours; what is taken has its reference taken over.
            let taken =
                unsafe { dpdk_sys::qpmux_tx_burst(self.id, QUEUE, views.as_ptr(), many as u16) };
            sent += usize::from(taken);
            if usize::from(taken) < many {
                break;
            }
        }
        // Their references are the port's now.
        frames.drain(..sent).for_each(|held| core::mem::forget(held.buffer));
        sent
    }

    /// Frames that the port lost since it was opened, because nobody took them in time or for lack
    /// of buffers.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: what is not written stays zero.
        let stats = unsafe {
            dpdk_sys::rte_eth_stats_get(self.id, stats.as_mut_ptr());
            stats.assume_init()
        };
        stats.imissed + stats.rx_nombuf
    }
}

impl Drop for EthPort<'_> {
    fn drop(&mut self) {
        // SAFETY: the port is ours, and the environment is still there. Stopping one that was not
        // started does nothing.
        unsafe {
            dpdk_sys::rte_eth_dev_stop(self.id);
            dpdk_sys::rte_eth_dev_close(self.id);
        }
    }
}

/// The frame as the shim wants it.
fn view(held: &Held<Mbuf<'_>>) -> dpdk_sys::qpmux_frame {
    dpdk_sys::qpmux_frame {
        mbuf: held.buffer.as_raw(),
        buffer: null_mut(),
        timestamp: 0,
        len: held.len as u32,
        buffer_len: 0,
        start: held.start as u16,
        whole: 1,
        timed: 0,
    }
}

/// A configuration that asks for nothing: no offload, one queue, the driver's defaults.
fn zeroed_conf() -> dpdk_sys::rte_eth_conf {
    // SAFETY: numbers and null pointers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
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
