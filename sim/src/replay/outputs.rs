//! The captures that a replay writes.

use std::path::Path;

use qpmux_traces::{CaptureError, CaptureWriter, HeldPacket, Records, refuse_same_file};

use super::world::Passing;
use super::{CLIENTS_PCAP, INGRESS_PCAP, SERVER_PCAP};
use crate::files::make_results_dir;

/// What a replay writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs<'a> {
    /// A directory for all results.
    pub dir: Option<&'a Path>,
    /// A capture of all frames that the engine sends, of both sides.
    pub egress: Option<&'a Path>,
}

impl<'a> From<Option<&'a Path>> for Outputs<'a> {
    /// All results, or none.
    fn from(dir: Option<&'a Path>) -> Outputs<'a> {
        Outputs { dir, egress: None }
    }
}

/// The two sides of the middlebox as captures, what came in on both as one, and what went out.
pub(super) struct Writers {
    sides: Option<Sides>,
    egress: Option<CaptureWriter>,
}

struct Sides {
    clients: CaptureWriter,
    server: CaptureWriter,
    ingress: CaptureWriter,
}

impl Writers {
    pub(super) fn create(outputs: &Outputs<'_>, input: &Path) -> anyhow::Result<Writers> {
        let sides = outputs.dir.map(|dir| Sides::create(dir, input)).transpose()?;
        if let Some(egress) = outputs.egress {
            refuse_same_file(egress, &[input])?;
        }
        Ok(Writers { sides, egress: outputs.egress.map(CaptureWriter::create).transpose()? })
    }

    /// Writes a frame; 0 as `original_len` stands for a whole one.
    pub(super) fn write(
        &mut self,
        passing: Passing,
        timestamp_ns: u64,
        original_len: u32,
        frame: &[u8],
    ) -> Result<(), CaptureError> {
        if let Some(sides) = &mut self.sides {
            sides.write(passing, timestamp_ns, original_len, frame)?;
        }
        match (&mut self.egress, passing) {
            (Some(egress), Passing::Out(_)) => {
                egress.write_packet(timestamp_ns, original_len, frame)
            }
            _ => Ok(()),
        }
    }

    /// Writes a frame that goes out in [`Self::write_records`] as well.
    #[inline]
    pub(super) fn write_held(
        &mut self,
        passing: Passing,
        packet: &HeldPacket<'_>,
    ) -> Result<(), CaptureError> {
        match &mut self.sides {
            Some(sides) => {
                sides.write(passing, packet.timestamp_ns, packet.original_len, packet.data())
            }
            None => Ok(()),
        }
    }

    /// Writes what went out in the order in which it came in.
    pub(super) fn write_records(&mut self, records: &Records<'_>) -> Result<(), CaptureError> {
        self.egress.as_mut().map_or(Ok(()), |egress| egress.write_records(records))
    }

    pub(super) fn finish(self) -> Result<(), CaptureError> {
        if let Some(Sides { clients, server, ingress }) = self.sides {
            clients.finish()?;
            server.finish()?;
            ingress.finish()?;
        }
        self.egress.map(CaptureWriter::finish).transpose().map(drop)
    }
}

impl Sides {
    fn create(dir: &Path, input: &Path) -> anyhow::Result<Sides> {
        make_results_dir(dir)?;
        let paths = [CLIENTS_PCAP, SERVER_PCAP, INGRESS_PCAP].map(|file| dir.join(file));
        for path in &paths {
            refuse_same_file(path, &[input])?;
        }
        let [clients, server, ingress] = paths.map(CaptureWriter::create);
        Ok(Sides { clients: clients?, server: server?, ingress: ingress? })
    }

    fn write(
        &mut self,
        passing: Passing,
        timestamp_ns: u64,
        original_len: u32,
        frame: &[u8],
    ) -> Result<(), CaptureError> {
        if matches!(passing, Passing::In(_)) {
            self.ingress.write_packet(timestamp_ns, original_len, frame)?;
        }
        let writer = match passing.side() {
            qpmux_engine::Side::Client => &mut self.clients,
            qpmux_engine::Side::Server => &mut self.server,
        };
        writer.write_packet(timestamp_ns, original_len, frame)
    }
}
