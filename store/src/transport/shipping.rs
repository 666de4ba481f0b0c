//! How a snapshot's file gets to another node: in pieces, from where the last attempt broke off.
//!
//! Owns both ends. The message that the file belongs to is taken in when the file is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use almadia::{Body, Message, NodeId, SnapshotStatus};
use almadia_proto::{Decode, Encode};
use tokio::time::sleep;

use super::{PeerRequest, PeerResponse, Transport};
use crate::raft::Input;
use crate::region::RegionId;
use crate::snapshot::{Description, SnapshotError, check_name, checksum};

/// The bytes of a piece.
const CHUNK: u64 = 1 << 20;
/// What the names of files begin with that are being received, and of those that have been.
const RECEIVED: &str = "received-";
const TAKEN: &str = "taken-";
/// For so long a broken connection is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

impl Transport {
    /// Sends a snapshot with its file, and reports whether it has arrived.
    pub(super) async fn ship(self: Arc<Self>, region: RegionId, message: Message) {
        let to = message.to;
        let status = match self.try_to_ship(region, &message).await {
            Ok(()) => SnapshotStatus::Delivered,
            Err(error) => {
                tracing::warn!(%region, %to, %error, "a snapshot was not delivered");
                SnapshotStatus::Failed
            }
        };
        drop(self.inputs.send(Input::SnapshotSent(region, to, status)));
    }

    async fn try_to_ship(
        self: &Arc<Self>,
        region: RegionId,
        message: &Message,
    ) -> Result<(), SnapshotError> {
        let Body::InstallSnapshot(snapshot) = &message.body else {
            return Ok(());
        };
        let description = Description::of(snapshot)?;
        let mut file = File::open(self.snapshots.path(&description.name))?;
        let mut last_progress = Instant::now();
        let mut known: Option<u64> = None;
        loop {
            let request = match known {
                None => PeerRequest::Offer(self.name_of(&description)),
                Some(at) if at < description.len => {
                    let piece = tokio::task::block_in_place(|| read_piece(&mut file, at))?;
                    PeerRequest::Chunk(self.name_of(&description), at, piece)
                }
                Some(_) => PeerRequest::Deliver(region, message.encode().to_vec()),
            };
            let is_last = matches!(request, PeerRequest::Deliver(..));
            match self.request(message.to, request).await {
                Ok(PeerResponse::Have(_)) if is_last => return Ok(()),
                Ok(PeerResponse::Have(len)) => {
                    known = Some(len);
                    last_progress = Instant::now();
                }
                Ok(PeerResponse::Refused(why)) => return Err(io::Error::other(why).into()),
                Ok(PeerResponse::Ended(_)) => return Err(io::Error::other("no answer").into()),
                Err(lost) if last_progress.elapsed() > PATIENCE => {
                    return Err(io::Error::other(lost).into());
                }
                Err(_) => {
                    known = None;
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Two nodes may send snapshots of the same place, whose files differ.
    fn name_of(&self, description: &Description) -> String {
        format!("{}-{:08x}", description.name, description.crc32)
    }

    /// Takes a file that another node sends.
    pub(super) async fn receive(
        self: &Arc<Self>,
        from: NodeId,
        request: PeerRequest,
    ) -> PeerResponse {
        let transport = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || transport.take(from, request)).await;
        match taken {
            Ok(Ok(len)) => PeerResponse::Have(len),
            Ok(Err(error)) => PeerResponse::Refused(error.to_string()),
            Err(error) => PeerResponse::Refused(error.to_string()),
        }
    }

    fn take(&self, from: NodeId, request: PeerRequest) -> Result<u64, SnapshotError> {
        match request {
            PeerRequest::Offer(name) => {
                let name = received(&name)?;
                self.forget_broken_off(&name)?;
                let mut file = OpenOptions::new();
                // It is there from the first word on: a region may be empty.
                let file = file
                    .create(true)
                    .append(true)
                    .open(self.snapshots.path(&name))?;
                Ok(file.metadata()?.len())
            }
            PeerRequest::Chunk(name, at, bytes) => {
                let path = self.snapshots.path(&received(&name)?);
                let mut file = OpenOptions::new().create(true).append(true).open(path)?;
                let len = file.metadata()?.len();
                if len == at {
                    file.write_all(&bytes)?;
                    return Ok(len + bytes.len() as u64);
                }
                Ok(len)
            }
            PeerRequest::Deliver(region, bytes) => {
                let mut message = Message::decode(bytes.into())?;
                // What a peer says of another one is not believed.
                if message.from != from {
                    return Err(io::Error::other("it is another node's message").into());
                }
                let Body::InstallSnapshot(snapshot) = &mut message.body else {
                    return Ok(0);
                };
                let mut description = Description::of(snapshot)?;
                let name = received(&self.name_of(&description))?;
                let path = self.snapshots.path(&name);
                let taken = name.replacen(RECEIVED, TAKEN, 1);
                let taken_path = self.snapshots.path(&taken);
                if taken_path.exists() {
                    // It is being taken in; the sender has not heard of it.
                    return Ok(description.len);
                }
                if checksum(&path)? != (description.len, description.crc32) {
                    fs::remove_file(path)?;
                    return Err(SnapshotError::Damaged);
                }
                File::open(&path)?.sync_all()?;
                fs::rename(path, taken_path)?;
                self.snapshots.sync()?;
                let name = taken;
                description.name = name;
                snapshot.data = postcard::to_stdvec(&description)?.into();
                drop(self.inputs.send(Input::Messages(vec![(region, message)])));
                Ok(description.len)
            }
            PeerRequest::Propose(..) | PeerRequest::Change(..) | PeerRequest::Transfer(..) => Ok(0),
        }
    }
}

impl Transport {
    /// Removes what was begun to be received of the same region and will not be gone on with.
    fn forget_broken_off(&self, name: &str) -> io::Result<()> {
        let region = name
            .strip_prefix(RECEIVED)
            .and_then(|rest| rest.split('-').next());
        let same = format!("{RECEIVED}{}-", region.unwrap_or_default());
        for file in fs::read_dir(self.snapshots.path(""))? {
            let file = file?;
            let other = file.file_name();
            let other = other.to_string_lossy();
            if other.starts_with(&same) && other != name {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }
}

/// The name under which a file from another node is kept.
fn received(name: &str) -> Result<String, SnapshotError> {
    check_name(name)?;
    Ok(format!("{RECEIVED}{name}"))
}

fn read_piece(file: &mut File, at: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut piece = Vec::new();
    file.take(CHUNK).read_to_end(&mut piece)?;
    if piece.is_empty() {
        return Err(io::Error::other("the file is shorter than it was"));
    }
    Ok(piece)
}
