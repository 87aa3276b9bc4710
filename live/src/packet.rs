//! A Linux interface as a port: a packet socket (`AF_PACKET`, packet(7)) in promiscuous mode.
//!
//! Needs `CAP_NET_RAW`; with `CAP_NET_ADMIN` the socket's buffers may exceed the system's limit.
//! No `unsafe`: the address to bind to comes from the list of interfaces, and what nix does not
//! know of packet sockets is declared with its own macros.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, GetSockOpt, LinkAddr, MsgFlags, RecvMsg, SockFlag,
    SockProtocol, SockType, bind, recvmsg, send, setsockopt, socket, sockopt,
};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

use crate::driver::{ROOM_AFTER, ROOM_BEFORE};
use crate::port::{Port, Received, SendFailure};

sockopt_impl!(
    /// Joins a packet socket to a group of receivers, or to all of them.
    PacketMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);
sockopt_impl!(
    /// Delivers VLAN tag and checksum state beside each frame.
    PacketAuxdata,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_AUXDATA,
    bool
);
sockopt_impl!(
    /// Delivers no frames that this host sends.
    PacketIgnoreOutgoing,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_IGNORE_OUTGOING,
    bool
);
sockopt_impl!(
    /// Frames delivered and lost since it was last asked.
    PacketStatistics,
    GetOnly,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    libc::tpacket_stats
);

/// Bytes of the VLAN tag that the kernel takes out of a frame (IEEE 802.1Q).
const VLAN_TAG: usize = 4;
/// Destination and source address, in front of a VLAN tag.
const ADDRESSES: usize = 12;
/// Tag protocol of a customer VLAN (IEEE 802.1Q).
const TPID_CUSTOMER: u16 = 0x8100;
/// Room for the kernel's control message: a `cmsghdr` (16 bytes) and a `tpacket_auxdata` (20).
const CONTROL: usize = 64;

/// A packet socket on one interface.
#[derive(Debug)]
pub struct PacketPort {
    socket: OwnedFd,
    interface: usize,
    control: [u8; CONTROL],
    missed: u64,
}

impl PacketPort {
    /// Opens the interface `name`, with buffers of `buffer_bytes` in the kernel each way.
    ///
    /// # Errors
    /// No such interface, no permission, or what else the operating system says.
    pub fn open(name: &str, buffer_bytes: usize) -> io::Result<PacketPort> {
        let address = link_address(name)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::EthAll;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)?;
        // The address has no protocol of its own, so the socket's remains: all.
        bind(socket.as_raw_fd(), &address)?;
        let interface = address.ifindex();
        let index = i32::try_from(interface).map_err(io::Error::other)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        setsockopt(&socket, PacketMembership, &promiscuous)?;
        setsockopt(&socket, PacketAuxdata, &true)?;
        // Linux before 4.20 has no such option; what is outgoing is then ignored one by one.
        let _ = setsockopt(&socket, PacketIgnoreOutgoing, &true);
        if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &buffer_bytes)?;
        }
        if setsockopt(&socket, sockopt::SndBufForce, &buffer_bytes).is_err() {
            setsockopt(&socket, sockopt::SndBuf, &buffer_bytes)?;
        }
        Ok(PacketPort { socket, interface, control: [0; CONTROL], missed: 0 })
    }

    /// One frame of the socket; `None` if it is not one that came in on the interface.
    fn receive_one(&mut self, buffer: &mut [u8]) -> nix::Result<Option<Received>> {
        // Where a VLAN tag fits in front.
        let start = ROOM_BEFORE + VLAN_TAG;
        let end = buffer.len().saturating_sub(ROOM_AFTER);
        let room = buffer.get_mut(start..end).unwrap_or_default();
        let limit = room.len();
        let mut slices = [IoSliceMut::new(room)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let socket = self.socket.as_raw_fd();
        let message = recvmsg::<LinkAddr>(socket, &mut slices, Some(&mut self.control), flags)?;
        let from = message.address;
        let ours =
            |a: LinkAddr| a.ifindex() == self.interface && a.pkttype() != libc::PACKET_OUTGOING;
        if !from.is_some_and(ours) {
            return Ok(None);
        }
        // With MSG_TRUNC this is the frame's length, not the length of what was written.
        let len = message.bytes;
        if len > limit || len < ADDRESSES {
            return Ok(Some(Received::TooLong));
        }
        let Some(tag) = vlan_tag(&message) else { return Ok(Some(Received::Frame { start, len })) };
        let start = ROOM_BEFORE;
        buffer.copy_within(start + VLAN_TAG..start + VLAN_TAG + ADDRESSES, start);
        if let Some(place) = buffer.get_mut(start + ADDRESSES..start + ADDRESSES + VLAN_TAG) {
            place.copy_from_slice(&tag);
        }
        Ok(Some(Received::Frame { start, len: len + VLAN_TAG }))
    }
}

impl AsFd for PacketPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Port for PacketPort {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.receive_one(buffer) {
                Ok(Some(received)) => return Ok(received),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), SendFailure> {
        loop {
            return match send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => Err(SendFailure::QueueFull),
                Err(Errno::EMSGSIZE) => Err(SendFailure::TooLong),
                Err(Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV) => Err(SendFailure::LinkDown),
                Err(_) => Err(SendFailure::Other),
            };
        }
    }

    fn missed(&mut self) -> u64 {
        // Asking resets the kernel's counter.
        if let Ok(statistics) = PacketStatistics.get(&self.socket) {
            self.missed += u64::from(statistics.tp_drops);
        }
        self.missed
    }
}

/// The tag that the kernel took out of the frame, as it was on the wire.
fn vlan_tag(message: &RecvMsg<'_, '_, LinkAddr>) -> Option<[u8; VLAN_TAG]> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Unknown(unknown)
            if unknown.cmsg_header.cmsg_level == libc::SOL_PACKET
                && unknown.cmsg_header.cmsg_type == libc::PACKET_AUXDATA =>
        {
            tag_of(&unknown.data_bytes)
        }
        _ => None,
    })
}

/// The tag that a `tpacket_auxdata` tells of: status and two lengths of 4 bytes, two offsets of
/// 2, then the tag's two halves, all in this machine's byte order.
fn tag_of(auxdata: &[u8]) -> Option<[u8; VLAN_TAG]> {
    let short = |at: usize| Some(u16::from_ne_bytes(auxdata.get(at..at + 2)?.try_into().ok()?));
    let status = u32::from_ne_bytes(auxdata.get(..4)?.try_into().ok()?);
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let told = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = if told { short(18)? } else { TPID_CUSTOMER };
    let [a, b] = protocol.to_be_bytes();
    let [c, d] = short(16)?.to_be_bytes();
    Some([a, b, c, d])
}

fn link_address(name: &str) -> io::Result<LinkAddr> {
    let mut others = Vec::new();
    for interface in getifaddrs()? {
        let Some(link) = interface.address.and_then(|a| a.as_link_addr().copied()) else {
            continue;
        };
        if interface.interface_name == name {
            return Ok(link);
        }
        others.push(interface.interface_name);
    }
    let text = format!("there is no such interface; there are: {}", others.join(", "));
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auxdata(status: u32, tci: u16, protocol: u16) -> Vec<u8> {
        let mut bytes = status.to_ne_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend(tci.to_ne_bytes());
        bytes.extend(protocol.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_stripped_tag_is_told() {
        let (valid, told) = (libc::TP_STATUS_VLAN_VALID, libc::TP_STATUS_VLAN_TPID_VALID);
        assert_eq!(tag_of(&auxdata(0, 5, 0x8100)), None);
        assert_eq!(tag_of(&auxdata(valid | told, 0x2005, 0x88a8)), Some([0x88, 0xa8, 0x20, 5]));
        assert_eq!(tag_of(&auxdata(valid, 0x0fff, 0)), Some([0x81, 0, 0x0f, 0xff]));
        assert_eq!(tag_of(&auxdata(valid | told, 5, 0x8100)[..17]), None);
    }

    #[test]
    fn an_unknown_interface_is_told_with_those_that_exist() {
        let error = PacketPort::open("no-such-one", 1 << 16).unwrap_err().to_string();
        assert!(error.contains("lo"), "{error}");
    }
}
