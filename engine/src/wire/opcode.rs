//! The opcodes of reliable connected (RC) transport and what each puts behind the BTH (IBTA
//! vol. 1, 9.2.1 and table 38; SEND with invalidate: 9.4.1).

/// Defines the opcodes with their names and the function that finds one by its byte.
macro_rules! opcodes {
    ($($(#[$doc:meta])* $variant:ident = $byte:literal, $name:literal;)*) => {
        /// An RC opcode: the whole byte, of which the top three bits (000) say RC.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Opcode {
            $($(#[$doc])* $variant = $byte,)*
        }

        impl Opcode {
            /// Every opcode, in the order of their bytes.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The RC opcode that `byte` stands for. `None` for other transports, and for RC
            /// opcodes that are reserved or not handled (FLUSH, ATOMIC WRITE).
            #[inline(always)]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                const BY_BYTE: [Option<Opcode>; 32] = {
                    let mut by_byte = [None; 32];
                    $(by_byte[$byte] = Some(Opcode::$variant);)*
                    by_byte
                };
                if byte < 32 { BY_BYTE[byte as usize] } else { None }
            }

            /// The usual name, such as `WRITE_ONLY`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

opcodes! {
    /// First packet of a SEND of several packets.
    SendFirst = 0x00, "SEND_FIRST";
    /// Neither the first nor the last packet of a SEND.
    SendMiddle = 0x01, "SEND_MIDDLE";
    /// Last packet of a SEND.
    SendLast = 0x02, "SEND_LAST";
    /// Last packet of a SEND with immediate data.
    SendLastImm = 0x03, "SEND_LAST_IMM";
    /// A SEND of one packet.
    SendOnly = 0x04, "SEND_ONLY";
    /// A SEND of one packet with immediate data.
    SendOnlyImm = 0x05, "SEND_ONLY_IMM";
    /// First packet of an RDMA WRITE of several packets.
    WriteFirst = 0x06, "WRITE_FIRST";
    /// Neither the first nor the last packet of an RDMA WRITE. It has no RETH.
    WriteMiddle = 0x07, "WRITE_MIDDLE";
    /// Last packet of an RDMA WRITE. It has no RETH.
    WriteLast = 0x08, "WRITE_LAST";
    /// Last packet of an RDMA WRITE with immediate data.
    WriteLastImm = 0x09, "WRITE_LAST_IMM";
    /// An RDMA WRITE of one packet.
    WriteOnly = 0x0a, "WRITE_ONLY";
    /// An RDMA WRITE of one packet with immediate data.
    WriteOnlyImm = 0x0b, "WRITE_ONLY_IMM";
    /// Asks for an RDMA READ; takes as many PSNs as the answer has packets.
    ReadRequest = 0x0c, "READ_REQUEST";
    /// First packet of a READ's answer of several packets.
    ReadResponseFirst = 0x0d, "READ_RESPONSE_FIRST";
    /// Neither the first nor the last packet of a READ's answer. It has no AETH.
    ReadResponseMiddle = 0x0e, "READ_RESPONSE_MIDDLE";
    /// Last packet of a READ's answer.
    ReadResponseLast = 0x0f, "READ_RESPONSE_LAST";
    /// A READ's answer of one packet.
    ReadResponseOnly = 0x10, "READ_RESPONSE_ONLY";
    /// ACK, NAK or RNR NAK.
    Acknowledge = 0x11, "ACKNOWLEDGE";
    /// An atomic's answer: the value before it.
    AtomicAcknowledge = 0x12, "ATOMIC_ACKNOWLEDGE";
    /// Compare and swap of 8 bytes.
    CompareSwap = 0x13, "COMPARE_SWAP";
    /// Fetch and add of 8 bytes.
    FetchAdd = 0x14, "FETCH_ADD";
    /// Last packet of a SEND that invalidates an R_Key.
    SendLastInv = 0x16, "SEND_LAST_INV";
    /// A SEND of one packet that invalidates an R_Key.
    SendOnlyInv = 0x17, "SEND_ONLY_INV";
}

impl Opcode {
    /// The byte in the BTH.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    /// Travels from the requester to the responder.
    pub const fn is_request(self) -> bool {
        !self.is_response()
    }

    /// Travels from the responder to the requester.
    pub const fn is_response(self) -> bool {
        self.is_read_response() || matches!(self, Self::Acknowledge | Self::AtomicAcknowledge)
    }

    /// Part of a READ's answer.
    pub const fn is_read_response(self) -> bool {
        matches!(
            self,
            Self::ReadResponseFirst
                | Self::ReadResponseMiddle
                | Self::ReadResponseLast
                | Self::ReadResponseOnly
        )
    }

    /// Asks for an atomic operation.
    pub const fn is_atomic(self) -> bool {
        matches!(self, Self::CompareSwap | Self::FetchAdd)
    }

    /// Part of an RDMA WRITE.
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::WriteFirst
                | Self::WriteMiddle
                | Self::WriteLast
                | Self::WriteLastImm
                | Self::WriteOnly
                | Self::WriteOnlyImm
        )
    }

    /// Part of a SEND.
    pub const fn is_send(self) -> bool {
        matches!(
            self,
            Self::SendFirst
                | Self::SendMiddle
                | Self::SendLast
                | Self::SendLastImm
                | Self::SendOnly
                | Self::SendOnlyImm
                | Self::SendLastInv
                | Self::SendOnlyInv
        )
    }

    /// Begins a message: FIRST, ONLY, READ request, atomic. ACK and ATOMIC ACK are no messages.
    pub const fn starts_message(self) -> bool {
        matches!(self, Self::SendFirst | Self::WriteFirst | Self::ReadResponseFirst)
            || self.is_whole_message()
    }

    /// Ends a message: LAST, ONLY, READ request, atomic. ACK and ATOMIC ACK are no messages.
    pub const fn ends_message(self) -> bool {
        matches!(
            self,
            Self::SendLast
                | Self::SendLastImm
                | Self::SendLastInv
                | Self::WriteLast
                | Self::WriteLastImm
                | Self::ReadResponseLast
        ) || self.is_whole_message()
    }

    const fn is_whole_message(self) -> bool {
        matches!(
            self,
            Self::SendOnly
                | Self::SendOnlyImm
                | Self::SendOnlyInv
                | Self::WriteOnly
                | Self::WriteOnlyImm
                | Self::ReadRequest
                | Self::ReadResponseOnly
                | Self::CompareSwap
                | Self::FetchAdd
        )
    }

    /// Has an RDMA extended transport header.
    pub const fn has_reth(self) -> bool {
        matches!(self, Self::WriteFirst | Self::WriteOnly | Self::WriteOnlyImm | Self::ReadRequest)
    }

    /// Has an ACK extended transport header: every response but READ RESPONSE MIDDLE.
    pub const fn has_aeth(self) -> bool {
        self.is_response() && !matches!(self, Self::ReadResponseMiddle)
    }

    /// Has an atomic extended transport header.
    pub const fn has_atomic_eth(self) -> bool {
        self.is_atomic()
    }

    /// Has an atomic ACK extended transport header, behind its AETH.
    pub const fn has_atomic_ack_eth(self) -> bool {
        matches!(self, Self::AtomicAcknowledge)
    }

    /// Has immediate data, behind its RETH if it has one.
    pub const fn has_immediate(self) -> bool {
        matches!(
            self,
            Self::SendLastImm | Self::SendOnlyImm | Self::WriteLastImm | Self::WriteOnlyImm
        )
    }

    /// Has an invalidate extended transport header.
    pub const fn has_ieth(self) -> bool {
        matches!(self, Self::SendLastInv | Self::SendOnlyInv)
    }

    /// May carry a payload: SEND, WRITE and READ response, even if it happens to be empty.
    #[inline]
    pub const fn has_payload(self) -> bool {
        WITH_PAYLOAD >> (self as u32 & 31) & 1 == 1
    }

    /// Bytes of all extension headers, which lie between the BTH and the payload.
    #[inline]
    pub const fn headers_len(self) -> usize {
        // Masked to 0..=31, the index is in range; no opcode is beyond.
        HEADERS_LEN[self as usize & 31] as usize
    }

    const fn sum_headers(self) -> usize {
        use super::{AethRepr, AtomicAckEthRepr, AtomicEthRepr, IethRepr, ImmDtRepr, RethRepr};

        let mut len = 0;
        if self.has_reth() {
            len += RethRepr::LEN;
        }
        if self.has_aeth() {
            len += AethRepr::LEN;
        }
        if self.has_atomic_eth() {
            len += AtomicEthRepr::LEN;
        }
        if self.has_atomic_ack_eth() {
            len += AtomicAckEthRepr::LEN;
        }
        if self.has_immediate() {
            len += ImmDtRepr::LEN;
        }
        if self.has_ieth() {
            len += IethRepr::LEN;
        }
        len
    }
}

/// A bit for each opcode that may carry a payload.
const WITH_PAYLOAD: u32 = {
    let (mut bits, mut at) = (0, 0);
    while at < Opcode::ALL.len() {
        let opcode = Opcode::ALL[at];
        if opcode.is_send() || opcode.is_write() || opcode.is_read_response() {
            bits |= 1 << opcode as u32;
        }
        at += 1;
    }
    bits
};

/// [`Opcode::headers_len`] by the opcode's byte.
static HEADERS_LEN: [u8; 32] = {
    let mut lengths = [0; 32];
    let mut at = 0;
    while at < Opcode::ALL.len() {
        lengths[Opcode::ALL[at] as usize] = Opcode::ALL[at].sum_headers() as u8;
        at += 1;
    }
    lengths
};
