//! A link between two nodes that can be cut, stopped and slowed.
//!
//! Owns the sockets in between. Knows nothing of what passes through.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// Every piece takes so long.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Stopped,
    /// Connections break, and none are made.
    Cut,
}

/// A link.
pub struct Link {
    /// Where the one who connects has to connect to.
    pub address: String,
    /// How many bytes have passed, both ways.
    passed: Arc<AtomicU64>,
    weather: watch::Sender<Weather>,
}

impl Link {
    /// A link to this address.
    ///
    /// # Errors
    ///
    /// If no address is free.
    pub async fn to(target: String) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (weather, forecast) = watch::channel(Weather::Fair);
        let passed = Arc::<AtomicU64>::default();
        let link = Arc::new(Self {
            address: listener.local_addr()?.to_string(),
            passed: Arc::clone(&passed),
            weather,
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let passed = Arc::clone(&passed);
                tokio::spawn(carry(stream, target.clone(), forecast.clone(), passed));
            }
        });
        Ok(link)
    }

    /// How many bytes have passed, both ways.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// It is like this now.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(
    one: TcpStream,
    target: String,
    mut weather: watch::Receiver<Weather>,
    passed: Arc<AtomicU64>,
) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(other) = TcpStream::connect(target).await else {
        return;
    };
    drop(one.set_nodelay(true));
    drop(other.set_nodelay(true));
    let (one_reads, one_writes) = one.into_split();
    let (other_reads, other_writes) = other.into_split();
    tokio::select! {
        () = pass(one_reads, other_writes, weather.clone(), &passed) => {}
        () = pass(other_reads, one_writes, weather.clone(), &passed) => {}
        // It lives as long as the link.
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    passed: &AtomicU64,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(len @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let now = *weather.borrow();
        match now {
            Weather::Fair | Weather::Cut => {}
            Weather::Slow(delay) => sleep(delay).await,
            Weather::Stopped => {
                let waited = weather
                    .wait_for(|weather| *weather != Weather::Stopped)
                    .await;
                if waited.is_err() {
                    return;
                }
            }
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
        passed.fetch_add(len as u64, Ordering::Relaxed);
    }
}
