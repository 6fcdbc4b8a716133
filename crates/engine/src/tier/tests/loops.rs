//! Which of the loops of a function is compiled.

use super::*;

#[test]
fn a_loop_that_was_left_while_it_waited_is_not_compiled() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    world.called_often(0);
    world.fake.wait_until(|log| !log.begun.is_empty());
    let [first, second] = [0, 1].map(|which| Part::Loop(world.loop_of(1, which).offset));
    for stay in 1..4 {
        world.looped(1, 0, stay);
    }
    for stay in 4..10 {
        world.looped(1, 1, stay);
    }
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.published.len() == 2);
    assert!(world.is_published(1, second));
    assert_eq!(world.fake.begun(), [(0, Part::Function), (1, second)]);
    let moved = |event: &String| event.starts_with("moved loop");
    assert!(world.fake.events().iter().any(moved));
    assert!(!world.is_published(1, first));
}

#[test]
fn of_the_loops_of_a_nest_the_one_that_is_mostly_found_is_compiled() {
    let world = World::new(TierMode::Auto, Some(1));
    let of = world.loop_of(1, 1);
    for stay in 1..4 {
        // So little work that nothing is due.
        let at = HotPoint::Loop { of, stay };
        let sample = World::sample_of(world.func(1, false), at, 1);
        assert!(world.tiering.sample(&sample).is_none());
    }
    assert_eq!(world.fake.begun(), []);
    world.looped(1, 0, 4);
    world.fake.wait_until(|log| !log.published.is_empty());
    assert_eq!(world.fake.begun(), [(1, Part::Loop(of.offset))]);
    let moved = |event: &String| event.starts_with("moved loop");
    assert!(
        !world.fake.events().iter().any(moved),
        "it was queued at once"
    );
}

#[test]
fn a_loop_that_calls_is_found_by_its_calls() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    world.called_often(0);
    world.fake.wait_until(|log| !log.begun.is_empty());
    let second = world.loop_of(1, 1);
    for stay in 1..4 {
        world.looped(1, 0, stay);
    }
    let header = Cell::new(0);
    for _ in 0..10 {
        let caller = Some(Caller::new(world.func(1, false), Some(second), &header));
        // No leaf that counts as its caller's, and too slow to compile to be due.
        world.ask(world.func(20, false), HotPoint::Call { caller });
    }
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.ended >= 2);
    let loops = world.fake.begun();
    let loops = loops.iter().filter(|(func, _)| *func == 1);
    let loops: Vec<_> = loops.map(|(_, part)| *part).collect();
    assert_eq!(loops, [Part::Loop(second.offset)]);
}
