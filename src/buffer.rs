//! Queues and vectors that are filled and emptied all the time.
//!
//! Owns how room is made in them, and how much memory they keep. A node's buffer that a burst has made large
//! is given back when it is empty again, so an idle group costs little; small ones are kept, so a steady load
//! allocates nothing, until a node rests. A store's log keeps, within bounds, the room that it had when it
//! was cut last.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter;

/// What an empty buffer may hold on to, in elements.
pub(crate) const KEPT: usize = 64;

/// Adds one element, which is made once there is room for it. So nothing can fail between its making and
/// its lying there, and it need not be made on the stack, and copied from there.
#[inline(always)]
pub(crate) fn push_made<T>(vector: &mut Vec<T>, make: impl FnOnce() -> T) {
    vector.extend(iter::once_with(make));
}

/// Makes room for one more element, which is to be moved: for the reason of [`push_made`]. (What is asserted
/// tells the compiler that `push` need not grow anything, so nothing can fail there.)
#[inline(always)]
pub(crate) fn make_room<T>(vector: &mut Vec<T>) {
    vector.reserve(1);
    assert!(vector.len() != vector.capacity(), "there is room");
}

/// Like [`make_room`], in a queue.
#[inline(always)]
pub(crate) fn make_room_behind<T>(queue: &mut VecDeque<T>) {
    if queue.len() == queue.capacity() {
        grow(queue);
    }
    assert!(queue.len() != queue.capacity(), "there is room");
}

#[cold]
#[inline(never)]
fn grow<T>(queue: &mut VecDeque<T>) {
    queue.reserve(1);
}

/// Takes the first element, if it is to go.
#[inline]
pub(crate) fn pop_front_if<T>(queue: &mut VecDeque<T>, goes: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(goes) {
        queue.pop_front()
    } else {
        None
    }
}

/// Gives the memory of an emptied queue back.
#[inline]
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

/// Up to so many elements a queue that was cut may hold on to the room of.
const KEPT_WHEN_CUT: usize = 4096;

/// Gives memory back of a queue that grows until it is cut, again and again: what is many times as much as
/// it had `in_use` before it was cut this time. So it need not grow anew each time.
pub(crate) fn give_back_unused<T>(queue: &mut VecDeque<T>, in_use: usize) {
    let kept = in_use.clamp(KEPT, KEPT_WHEN_CUT);
    if queue.capacity() / 4 > kept {
        queue.shrink_to(kept);
    }
}

/// Gives all memory of an empty queue back.
pub(crate) fn give_back_all<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}

/// Empties a vector, and keeps a little of its memory.
#[inline]
pub(crate) fn empty<T>(vector: &mut Vec<T>) {
    vector.clear();
    if vector.capacity() > KEPT {
        vector.shrink_to(KEPT);
    }
}
