//! A multipart form's first file. The form is never whole in memory, and what stands around the file is bounded.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream;

use super::PublishRefusal;
use super::upload::{Counted, Sink, UploadError};

/// The most bytes of a form that are not its file: preamble, part headers, other fields, epilogue.
pub(super) const FRAME_BYTES_MAX: u64 = 64 << 10;

/// The longest piece that is handed to the parser at once: it copies what it is given.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// The longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The most that is told of why a form cannot be read.
const REASON_CHARS_MAX: usize = 120;

/// Whether a body of this type is a form.
pub(super) fn is_form(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Writes the form's first file into `sink`, then reads the form to its end.
pub(super) async fn first_file(content_type: &str, body: &mut Counted<'_>, sink: &mut Sink) -> Result<(), PublishRefusal> {
    let boundary = multer::parse_boundary(content_type).map_err(|error| bad_form(&error))?;
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
        return Err(PublishRefusal::BadForm(format!("its boundary must be 1 to {BOUNDARY_BYTES_MAX} characters")));
    }
    let in_file = Arc::new(AtomicBool::new(false));
    let mut form = multer::Multipart::new(Pieces::new(body, in_file.clone()), boundary);
    let mut found = false;
    while let Some(mut field) = form.next_field().await.map_err(form_error)? {
        let is_file = !found && field.file_name().is_some();
        found |= is_file;
        in_file.store(is_file, Ordering::Relaxed);
        while let Some(piece) = field.chunk().await.map_err(form_error)? {
            if is_file {
                sink.write(piece).await?;
            }
        }
        in_file.store(false, Ordering::Relaxed);
    }
    drop(form);
    // What follows the last boundary means nothing, but a kept connection must not begin with it.
    let mut epilogue = 0;
    while let Some(piece) = body.next().await? {
        epilogue += piece.len() as u64;
        if epilogue > FRAME_BYTES_MAX {
            return Err(frame_too_long());
        }
    }
    if found { Ok(()) } else { Err(PublishRefusal::BadForm("it holds no file: curl -F file=@module.zip sends one".to_owned())) }
}

/// Why no more of the form came.
#[derive(Debug, thiserror::Error)]
enum PieceError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("more than {FRAME_BYTES_MAX} bytes stand around its first file")]
    FrameTooLong,
}

fn frame_too_long() -> PublishRefusal {
    PublishRefusal::BadForm(PieceError::FrameTooLong.to_string())
}

/// The parser's words may hold a field's name: they are made fit for a terminal.
fn bad_form(error: &dyn std::error::Error) -> PublishRefusal {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    PublishRefusal::BadForm(error.to_string().chars().take(REASON_CHARS_MAX).map(printable).collect())
}

fn form_error(error: multer::Error) -> PublishRefusal {
    match error {
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<PieceError>().map(|error| *error) {
            Ok(PieceError::Upload(error)) => PublishRefusal::Interrupted(error),
            Ok(PieceError::FrameTooLong) => frame_too_long(),
            Err(other) => bad_form(&*other),
        },
        other => bad_form(&other),
    }
}

/// A body for the parser, which reads for as long as anything is ready and keeps all of it: so one small piece
/// a poll, and none when what stands around the file grows too long.
struct Pieces<'a> {
    inner: Pin<Box<dyn Stream<Item = Result<Bytes, PieceError>> + Send + 'a>>,
    gave: bool,
}

impl<'a> Pieces<'a> {
    /// `in_file`: what is read now is the file's.
    fn new(body: &'a mut Counted<'_>, in_file: Arc<AtomicBool>) -> Self {
        let start = (body, Bytes::new(), FRAME_BYTES_MAX, in_file);
        let inner = stream::try_unfold(start, |(body, mut rest, mut room, in_file)| async move {
            while rest.is_empty() {
                match body.next().await? {
                    Some(piece) => rest = piece,
                    None => return Ok(None),
                }
            }
            let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
            if !in_file.load(Ordering::Relaxed) {
                // A piece that ends a header begins the file too: it counts as what it began as.
                room = room.checked_sub(piece.len() as u64).ok_or(PieceError::FrameTooLong)?;
            }
            Ok(Some((piece, (body, rest, room, in_file))))
        });
        Self { inner: Box::pin(inner), gave: false }
    }
}

impl Stream for Pieces<'_> {
    type Item = Result<Bytes, PieceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.inner.as_mut().poll_next(cx);
        self.gave = matches!(polled, Poll::Ready(Some(_)));
        polled
    }
}
