//! The connections that are served: where there are too many, the oldest that waits for its client makes room.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its client is waited for, to say more or to leave.
    Waits,
    /// Its request was read, and is answered.
    Answered,
}

/// Connections and what is done with each, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Vec<(Arc<TcpStream>, Phase)>>);

impl Connections {
    /// Takes one more, and ends the oldest that waits where there are as many as there may be; false where none does.
    pub(super) fn add(&self, stream: &Arc<TcpStream>, most: usize) -> bool {
        let mut all = self.lock();
        if all.len() >= most {
            let Some(oldest) = all.iter().position(|(_, phase)| *phase == Phase::Waits) else {
                return false;
            };
            // Whoever serves it finds it at its end; so it is where the client was first.
            let _ = all.remove(oldest).0.shutdown(Shutdown::Both);
        }
        all.push((Arc::clone(stream), Phase::Waits));
        true
    }

    /// Says what is done with a connection from now on.
    pub(super) fn enter(&self, stream: &Arc<TcpStream>, now: Phase) {
        for (_, phase) in self.lock().iter_mut().filter(|(other, _)| Arc::ptr_eq(other, stream)) {
            *phase = now;
        }
    }

    /// Forgets a connection that has ended.
    pub(super) fn remove(&self, stream: &Arc<TcpStream>) {
        self.lock().retain(|(other, _)| !Arc::ptr_eq(other, stream));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<TcpStream>, Phase)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener};

    use super::*;

    #[test]
    fn the_oldest_that_waits_makes_room_and_none_that_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (all, streams) = (Connections::default(), [(); 4].map(|()| connect()));
        let [first, second, third, fourth] = &streams;
        assert!(all.add(first, 2) && all.add(second, 2));
        all.enter(first, Phase::Answered);
        assert!(all.add(third, 2));
        assert_eq!((&**second).read(&mut [0]).unwrap(), 0, "it was ended");
        all.enter(third, Phase::Answered);
        assert!(!all.add(fourth, 2));
        all.enter(first, Phase::Waits);
        assert!(all.add(fourth, 2));
        all.remove(third);
        assert!(all.add(second, 2));
    }
}
