//! What follows from frames and calls, without a connection.

use super::*;

fn waker() -> &'static Waker {
    Waker::noop()
}

fn state(side: Side) -> State {
    let limits = Limits {
        streams: 3,
        unread: 10,
        unread_in_all: 15,
        unsent: 10,
        unsent_in_all: 15,
        unsent_controls: 4,
        ..Limits::default()
    };
    State::new(side, limits)
}

fn opening(stream: StreamId) -> Frame {
    let (parent, priority, slot, fin, unidirectional) = (0, 0, 0, false, false);
    Frame::SynStream { stream, parent, priority, slot, fin, unidirectional, headers: Headers::new() }
}

fn data(stream: StreamId, fin: bool, bytes: &'static [u8]) -> Frame {
    Frame::Data { stream, fin, bytes: Bytes::from_static(bytes) }
}

fn reply(stream: StreamId) -> Frame {
    Frame::SynReply { stream, fin: false, headers: Headers::new() }
}

fn sent(state: &mut State) -> Vec<Frame> {
    std::iter::from_fn(|| state.take_frame()).collect()
}

/// A server's state with these streams of the client accepted.
fn serving(streams: &[StreamId]) -> State {
    let mut state = state(Side::Server);
    for stream in streams {
        state.receive(opening(*stream)).unwrap();
        assert!(state.poll_arrival(waker()).is_ready());
        state.reply(*stream);
    }
    sent(&mut state);
    state
}

#[test]
fn streams_of_the_peer_have_growing_numbers_of_its_own() {
    for (before, stream) in [(vec![], 1), (vec![1], 3), (vec![1], 9)] {
        let mut state = serving(&before);
        state.receive(opening(stream)).unwrap();
        assert!(matches!(state.poll_arrival(waker()), Poll::Ready(Some((found, _))) if found == stream));
    }
    let mut late = serving(&[1, 5]);
    late.receive(opening(3)).unwrap();
    assert_eq!(sent(&mut late), [Frame::reset(3, ResetCode::PROTOCOL_ERROR)]);
    assert!(late.poll_arrival(waker()).is_pending());
    for stream in [1, 2] {
        assert_eq!(serving(&[1]).receive(opening(stream)), Err(Error::StreamNumber(stream)));
    }
    assert_eq!(state(Side::Client).receive(opening(1)), Err(Error::StreamNumber(1)));
}

#[test]
fn a_stream_too_many_is_refused_and_the_next_is_not() {
    let mut state = serving(&[1, 3, 5]);
    state.receive(opening(7)).unwrap();
    assert_eq!(sent(&mut state), [Frame::reset(7, ResetCode::REFUSED_STREAM)]);
    state.finish(3).unwrap();
    state.drop_reader(3);
    state.drop_writer(3);
    state.receive(opening(9)).unwrap();
    assert!(matches!(state.poll_arrival(waker()), Poll::Ready(Some((9, _)))));
}

#[test]
fn what_is_received_is_read_in_order_and_then_the_end() {
    let mut state = serving(&[1]);
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Pending);
    state.receive(data(1, false, b"abc")).unwrap();
    state.receive(data(1, true, b"de")).unwrap();
    state.receive(data(1, false, b"after the end")).unwrap();
    assert_eq!(state.poll_read(1, 4, waker()), Poll::Ready(Ok(Bytes::from_static(b"abcd"))));
    assert_eq!(state.poll_read(1, 4, waker()), Poll::Ready(Ok(Bytes::from_static(b"e"))));
    assert_eq!(state.poll_read(1, 4, waker()), Poll::Ready(Ok(Bytes::new())));
    assert_eq!(state.poll_write(1, b"still open", waker()), Poll::Ready(Ok(10)), "only one half has ended");
}

#[test]
fn a_full_stream_holds_up_its_own_frames() {
    let mut state = serving(&[1, 3]);
    assert!(state.poll_room(&data(1, false, b"x"), waker()).is_ready());
    state.receive(data(1, false, b"0123456789")).unwrap();
    assert!(state.poll_room(&data(1, false, b"x"), waker()).is_pending());
    for frame in [data(3, false, b"x"), data(99, false, b"x"), Frame::Ping { id: 1 }] {
        assert!(state.poll_room(&frame, waker()).is_ready(), "{frame:?}");
    }
    state.receive(data(3, false, b"01234")).unwrap();
    assert!(state.poll_room(&data(3, false, b"x"), waker()).is_pending(), "all streams together are full");
    assert!(state.poll_read(1, 1, waker()).is_ready());
    assert_eq!(state.due.len(), 1, "whoever receives is woken");
    assert!(state.poll_room(&data(1, false, b"x"), waker()).is_ready());
    state.drop_reader(1);
    assert_eq!(state.unread, 5);
    assert!(state.poll_room(&data(1, false, b"x"), waker()).is_ready(), "bytes for nobody need no room");
}

#[test]
fn a_writer_waits_while_too_much_is_unsent() {
    let mut state = serving(&[1, 3]);
    assert_eq!(state.poll_write(1, b"0123456789abc", waker()), Poll::Ready(Ok(10)));
    assert_eq!(state.poll_write(1, b"abc", waker()), Poll::Pending);
    assert_eq!(state.poll_write(3, b"0123456789", waker()), Poll::Ready(Ok(5)), "all streams together are full");
    assert_eq!(state.poll_write(3, b"56789", waker()), Poll::Pending);
    assert_eq!(state.take_frame(), Some(data(1, false, b"0123456789")));
    assert_eq!(state.due.len(), 2, "both writers are woken");
    assert_eq!(state.poll_write(3, b"56789", waker()), Poll::Ready(Ok(5)));
}

#[test]
fn pings_are_answered_and_a_flood_of_them_is_not_read() {
    let mut state = serving(&[]);
    for id in [1, 3, 5, 7] {
        assert!(state.poll_room(&Frame::Ping { id }, waker()).is_ready());
        state.receive(Frame::Ping { id }).unwrap();
    }
    assert!(state.poll_room(&Frame::Ping { id: 9 }, waker()).is_pending());
    assert_eq!(sent(&mut state), [1, 3, 5, 7].map(|id| Frame::Ping { id }));
    assert!(state.poll_room(&Frame::Ping { id: 9 }, waker()).is_ready());
}

#[test]
fn the_peer_is_pinged_only_after_it_spoke_and_once_at_a_time() {
    let mut state = state(Side::Server);
    state.ping();
    assert_eq!(sent(&mut state), []);
    state.receive(opening(1)).unwrap();
    state.ping();
    state.ping();
    assert_eq!(sent(&mut state), [Frame::Ping { id: 2 }]);
    state.receive(Frame::Ping { id: 2 }).unwrap();
    state.ping();
    assert_eq!(sent(&mut state), [Frame::Ping { id: 4 }], "an answer is not answered");
}

#[test]
fn a_reset_of_the_peer_ends_both_halves_and_keeps_what_came() {
    let mut state = serving(&[1]);
    state.receive(data(1, false, b"abc")).unwrap();
    assert!(state.poll_write(1, b"xyz", waker()).is_ready());
    state.receive(Frame::reset(1, ResetCode::CANCEL)).unwrap();
    let error = Error::Reset { stream: 1, code: ResetCode::CANCEL };
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Ok(Bytes::from_static(b"abc"))));
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Err(error.clone())));
    assert_eq!(state.poll_write(1, b"x", waker()), Poll::Ready(Err(error.clone())));
    assert_eq!(state.finish(1), Ok(()), "there is nothing left to finish");
    assert_eq!((sent(&mut state), state.unsent), (vec![], 0), "a dead stream sends nothing");
    state.drop_reader(1);
    state.drop_writer(1);
    assert_eq!((sent(&mut state), state.slots.len()), (vec![], 0));
}

#[test]
fn a_reset_after_both_ends_changes_nothing() {
    let mut state = serving(&[1]);
    state.receive(data(1, true, b"")).unwrap();
    state.finish(1).unwrap();
    state.receive(Frame::reset(1, ResetCode::CANCEL)).unwrap();
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Ok(Bytes::new())));
    state.reset(1, ResetCode::CANCEL);
    assert_eq!(sent(&mut state), [data(1, true, b"")]);
}

#[test]
fn giving_up_throws_away_what_waits_and_tells_the_peer() {
    let mut state = serving(&[1, 3]);
    assert!(state.poll_write(1, b"abc", waker()).is_ready());
    assert!(state.poll_write(3, b"def", waker()).is_ready());
    state.drop_reader(1);
    state.drop_writer(1);
    assert_eq!(sent(&mut state), [data(3, false, b"def"), Frame::reset(1, ResetCode::CANCEL)]);
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Err(Error::GivenUp(1))));
    state.receive(data(1, false, b"late")).unwrap();
    state.receive(Frame::reset(1, ResetCode::CANCEL)).unwrap();
    assert_eq!(sent(&mut state), [], "late frames of a stream that is gone mean nothing");
}

#[test]
fn a_finished_half_that_is_dropped_is_no_reset() {
    let mut state = serving(&[1]);
    assert!(state.poll_write(1, b"abc", waker()).is_ready());
    state.finish(1).unwrap();
    state.finish(1).unwrap();
    assert_eq!(state.poll_write(1, b"x", waker()), Poll::Ready(Err(Error::Finished(1))));
    state.drop_writer(1);
    state.drop_reader(1);
    assert_eq!(sent(&mut state), [data(1, false, b"abc"), data(1, true, b"")]);
}

#[test]
fn opening_waits_for_the_answer() {
    let mut state = state(Side::Client);
    assert_eq!(state.open(Headers::new()), Ok(1));
    assert_eq!(state.open(Headers::new()), Ok(3));
    assert_eq!(sent(&mut state), [opening(1), opening(3)]);
    assert_eq!(state.poll_reply(1, waker()), Poll::Pending);
    state.receive(reply(1)).unwrap();
    state.receive(reply(1)).unwrap();
    state.receive(Frame::reset(3, ResetCode::REFUSED_STREAM)).unwrap();
    state.receive(reply(77)).unwrap();
    assert_eq!(state.poll_reply(1, waker()), Poll::Ready(Ok(())));
    let refused = Error::Reset { stream: 3, code: ResetCode::REFUSED_STREAM };
    assert_eq!(state.poll_reply(3, waker()), Poll::Ready(Err(refused)));
    assert_eq!(state.open(Headers::new()), Ok(5));
    assert_eq!(state.open(Headers::new()), Err(Error::TooManyStreams { limit: 3 }));
}

#[test]
fn numbers_are_used_once() {
    let mut state = state(Side::Client);
    state.next_ours = STREAM_MAX;
    assert_eq!(state.open(Headers::new()), Ok(STREAM_MAX));
    assert_eq!(state.open(Headers::new()), Err(Error::NumbersUsedUp));
}

#[test]
fn a_drain_takes_no_more_streams_and_waits_for_those_there_are() {
    let mut state = serving(&[1, 3]);
    state.drain();
    state.drain();
    state.receive(opening(5)).unwrap();
    assert_eq!(sent(&mut state), [Frame::reset(5, ResetCode::REFUSED_STREAM)], "a GOAWAY would be the last frame read");
    assert_eq!(state.open(Headers::new()), Err(Error::GoingAway));
    assert!(matches!(state.poll_arrival(waker()), Poll::Ready(None)));
    assert!(state.poll_write(1, b"abc", waker()).is_ready());
    for stream in [1, 3] {
        state.finish(stream).unwrap();
        state.drop_reader(stream);
        assert!(!state.is_drained());
        state.drop_writer(stream);
    }
    let goodbye = Frame::Goaway { last_good: 5, status: GoawayStatus::OK };
    assert_eq!(sent(&mut state), [data(1, false, b"abc"), data(1, true, b""), data(3, true, b""), goodbye]);
    assert_eq!(state.poll_frame(waker()), Poll::Ready(None));
}

#[test]
fn a_peer_that_goes_away_has_not_seen_the_newest_streams() {
    let mut state = state(Side::Client);
    for _ in 0..2 {
        state.open(Headers::new()).unwrap();
    }
    state.receive(reply(1)).unwrap();
    state.receive(Frame::Goaway { last_good: 1, status: GoawayStatus::OK }).unwrap();
    assert_eq!(state.poll_reply(1, waker()), Poll::Ready(Ok(())));
    assert!(matches!(state.poll_reply(3, waker()), Poll::Ready(Err(Error::Reset { stream: 3, .. }))));
    assert_eq!(state.open(Headers::new()), Err(Error::GoingAway));
    state.receive(data(1, true, b"abc")).unwrap();
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Ok(Bytes::from_static(b"abc"))));
}

#[test]
fn streams_that_nobody_accepts_are_refused() {
    let mut state = state(Side::Server);
    state.receive(opening(1)).unwrap();
    state.drop_incoming();
    state.receive(opening(3)).unwrap();
    assert_eq!(sent(&mut state), [1, 3].map(|stream| Frame::reset(stream, ResetCode::REFUSED_STREAM)));
    assert!(state.slots.is_empty());
}

#[test]
fn the_end_of_the_connection_is_the_end_of_all() {
    let mut state = serving(&[1, 3]);
    state.receive(data(1, false, b"abc")).unwrap();
    state.receive(data(3, true, b"")).unwrap();
    assert!(state.poll_write(3, b"0123456789", waker()).is_ready());
    assert!(state.poll_write(3, b"x", waker()).is_pending());
    state.end(Error::Truncated);
    state.end(Error::Closed);
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Ok(Bytes::from_static(b"abc"))), "what came is kept");
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Err(Error::Truncated)), "the first reason counts");
    assert_eq!(state.poll_read(3, 9, waker()), Poll::Ready(Ok(Bytes::new())), "that stream had ended in order");
    assert_eq!(state.poll_write(3, b"x", waker()), Poll::Ready(Err(Error::Truncated)));
    assert_eq!(state.open(Headers::new()), Err(Error::Truncated));
    assert!(matches!(state.poll_arrival(waker()), Poll::Ready(None)));
    assert_eq!(state.poll_frame(waker()), Poll::Ready(None));
    assert!(!state.due.is_empty());
    for stream in [1, 3] {
        state.drop_reader(stream);
        state.drop_writer(stream);
    }
    assert_eq!((sent(&mut state), state.slots.len(), state.unread), (vec![], 0, 0));
}

#[test]
fn settings_windows_and_more_headers_are_taken_and_mean_nothing() {
    let mut state = serving(&[1]);
    state.receive(Frame::Settings { clear: true, values: vec![] }).unwrap();
    state.receive(Frame::WindowUpdate { stream: 1, delta: 5 }).unwrap();
    state.receive(Frame::Headers { stream: 1, fin: false, headers: Headers::new() }).unwrap();
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Pending);
    state.receive(Frame::Headers { stream: 1, fin: true, headers: Headers::new() }).unwrap();
    assert_eq!(state.poll_read(1, 9, waker()), Poll::Ready(Ok(Bytes::new())));
    assert_eq!(sent(&mut state), []);
}
