//! What a TCP client's kernel has acknowledged, and how much its application may read before we hear of it.

use std::os::fd::AsRawFd;

use pingora::protocols::l4::ext::get_tcp_info;
use tokio::net::TcpStream;

/// A full buffer opens again when so many segments fit: one or two, and what is half read counts as unread.
const SEGMENTS: u64 = 4;
/// Or when this part of it is free, which is the most that RFC 1122 has a receiver wait for.
const PART: u64 = 2;
/// What may be unheard at most, bytes: a client says by itself how large its window is.
pub(super) const UNHEARD_MAX: u64 = 1 << 20;
/// Where the kernel does not tell what was acknowledged (Linux before 6.2): it takes more when about so many bytes have gone.
const UNTOLD: u64 = 256 << 10;

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Bytes, so far.
    bytes: u64,
    /// The widest window that was seen, bytes.
    window: u64,
    unheard: u64,
    told: bool,
}

impl Acknowledged {
    /// Bytes that were acknowledged since this was asked last; `None` where the kernel does not tell.
    pub(super) fn since_last(&mut self, io: &TcpStream) -> Option<u64> {
        let Ok(info) = get_tcp_info(io.as_raw_fd()) else {
            (self.unheard, self.told) = (UNTOLD, false);
            return None;
        };
        self.window = self.window.max(info.tcpi_snd_wnd.into());
        self.unheard = (SEGMENTS * u64::from(info.tcpi_snd_mss)).max(self.window / PART).min(UNHEARD_MAX);
        self.told = true;
        let before = std::mem::replace(&mut self.bytes, info.tcpi_bytes_acked);
        Some(self.bytes.saturating_sub(before))
    }

    /// Whether the kernel told last time.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// Bytes that the application may have read since the last acknowledgement: a kernel whose buffer was full says nothing until a
    /// good part of it is free again.
    pub(super) fn unheard(&self) -> u64 {
        self.unheard
    }
}
