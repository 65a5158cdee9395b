//! Who is let in, who is limited, and what it costs.

use super::*;
use crate::access::limiter::Origin;
use crate::access::turns::{Busy, Turns};

#[tokio::test]
async fn a_stale_netrc_costs_one_hash_and_counts_once() {
    let house = House::new("");
    let header = basic("alice", "last year's");
    let all = futures::future::join_all((0..1000).map(|_| house.show(&header, HOME))).await;
    assert!(all.into_iter().all(|one| one == "wrong"));
    assert_eq!(house.log_ins.hashed(), 1);
    for _ in 0..LIMITED_AT {
        assert_eq!(house.show(&header, HOME).await, "wrong");
    }
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in", "the office is not locked out");
    assert_eq!(house.log_ins.hashed(), 2);
    // Whether somebody elsewhere was wrong like this cannot be told by the time.
    assert_eq!(house.show(&header, at(7)).await, "wrong");
    assert_eq!(house.log_ins.hashed(), 3);
}

#[tokio::test]
async fn an_unknown_user_costs_and_counts_as_a_known_one_does() {
    let house = House::new("");
    for n in 0..LIMITED_AT {
        assert_eq!(house.log_in(&format!("user-{n}"), "guess", HOME).await, "wrong");
    }
    assert_eq!(house.log_ins.hashed(), LIMITED_AT as usize);
    for (user, password) in [("user-x", "guess"), ("alice", "guess"), ("alice", "alice's"), ("Not A Name", "x")] {
        assert_eq!(house.log_in(user, password, HOME).await, "limited", "{user}");
    }
    assert_eq!(house.log_ins.hashed(), LIMITED_AT as usize, "what is not looked at costs nothing");
}

#[tokio::test]
async fn different_wrong_ones_limit_an_address_and_no_other() {
    let house = House::new("");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
    house.be_wrong(LIMITED_AT - 1, HOME).await;
    assert_eq!(house.log_in("bob", "bob's", HOME).await, "in", "one below the limit");
    house.be_wrong(LIMITED_AT, HOME).await;
    let hashed = house.log_ins.hashed();
    assert_eq!(house.log_in("root", "root's", HOME).await, "limited", "right, but never seen here");
    assert_eq!(house.log_in("alice", "guess 0", HOME).await, "wrong", "known to be wrong");
    assert_eq!(house.log_in("alice", "another", HOME).await, "limited");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in", "right here before");
    assert_eq!(house.log_ins.hashed(), hashed);
    house.log_ins.grow_stale();
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in", "hashed again though limited");
    assert_eq!(house.log_ins.hashed(), hashed + 1);
    assert_eq!(house.log_in("root", "root's", at(7)).await, "in", "elsewhere");
    assert_eq!(house.log_in("root", "root's", HOME).await, "limited", "right elsewhere is not right here: guesses would be free");
    let token = house.token_text(&[Scope::Read], &[], None).await;
    assert_eq!(house.show(&format!("Bearer {token}"), HOME).await, "in", "tokens cannot be guessed");
}

#[tokio::test]
async fn many_different_wrong_ones_at_once_are_not_all_looked_at() {
    let house = House::new("");
    let headers: Vec<String> = (0..500).map(|n| basic("alice", &format!("guess {n}"))).collect();
    let all = futures::future::join_all(headers.iter().map(|header| house.show(header, HOME))).await;
    let turns = house.log_ins.turns().memories().len();
    let looked_at = LIMITED_AT as usize..LIMITED_AT as usize + turns;
    assert!(looked_at.contains(&house.log_ins.hashed()), "{}", house.log_ins.hashed());
    assert_eq!(all.iter().filter(|one| **one == "wrong").count(), house.log_ins.hashed());
    assert!(all.iter().all(|one| matches!(*one, "wrong" | "limited")));
}

#[tokio::test]
async fn what_was_right_here_cannot_be_guessed_at_will_either() {
    let house = House::new("");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
    house.be_wrong(LIMITED_AT, HOME).await;
    for n in LIMITED_AT..SHUT_AT {
        assert_eq!(house.log_in("alice", "alice's", HOME).await, "in", "{n}");
        let guess = format!("guess {n}");
        // A build asks a hundred times with what it has: that is one guess.
        for _ in 0..3 {
            assert_eq!(house.log_in("alice", &guess, HOME).await, "limited", "{n}");
        }
    }
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "limited");
    assert_eq!(house.log_in("alice", "guess 0", HOME).await, "wrong");
    assert_eq!(house.log_ins.hashed(), 1 + LIMITED_AT as usize);
    let token = house.token_text(&[Scope::Read], &[], None).await;
    assert_eq!(house.show(&format!("Bearer {token}"), HOME).await, "in");
}

#[tokio::test]
async fn neither_wrong_tokens_nor_a_form_that_is_none_count() {
    let house = House::new("");
    for n in 0..=SHUT_AT {
        assert_eq!(house.show(&format!("Bearer {n}"), HOME).await, "wrong", "nobody guesses a token");
        assert_eq!(house.show("Digest x", HOME).await, "wrong");
        assert_eq!(house.log_in("alice", &"x".repeat(PASSWORD_BYTES_MAX + 1), HOME).await, "wrong");
    }
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
}

#[tokio::test]
async fn an_ipv6_network_is_limited_as_one() {
    let house = House::new("");
    for n in 0..LIMITED_AT {
        let from = format!("2001:db8::{n:x}").parse().unwrap();
        assert_eq!(house.log_in("alice", &format!("guess {n}"), Some(from)).await, "wrong");
    }
    assert_eq!(house.log_in("bob", "bob's", Some("2001:db8::ffff".parse().unwrap())).await, "limited");
    assert_eq!(house.log_in("bob", "bob's", Some("2001:db8:0:1::1".parse().unwrap())).await, "in");
}

#[tokio::test]
async fn a_reload_neither_forgets_who_is_limited_nor_believes_an_old_password() {
    let mut house = House::new("");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
    assert_eq!(house.log_in("bob", "new", at(7)).await, "wrong");
    house.be_wrong(LIMITED_AT, HOME).await;
    // All hashes are new ones, with new salts: what was right has to be shown anew, where that is not limited.
    house.reload("");
    assert_eq!(house.log_in("bob", "bob's", HOME).await, "limited");
    let hashed = house.log_ins.hashed();
    assert_eq!(house.log_in("alice", "alice's", at(7)).await, "in");
    assert_eq!(house.log_in("bob", "new", at(7)).await, "wrong");
    assert_eq!(house.log_ins.hashed(), hashed + 2);
    // The same settings again: nothing is hashed twice.
    house.access = Access::new(
        &Config { users: house.access.users.clone(), ..Config::from_toml("").unwrap() },
        Arc::clone(&house.tokens) as Arc<dyn Records>,
        house.log_ins.clone(),
    );
    assert_eq!(house.log_in("alice", "alice's", at(7)).await, "in");
    assert_eq!(house.log_ins.hashed(), hashed + 2);
}

#[tokio::test]
async fn who_goes_away_is_counted_all_the_same() {
    let house = House::new("");
    for n in 0..LIMITED_AT {
        let header = basic("alice", &format!("guess {n}"));
        let hashed = house.log_ins.hashed();
        let mut asking = Box::pin(house.show(&header, HOME));
        // Away as soon as the work has begun, or a little later.
        while futures::FutureExt::now_or_never(asking.as_mut()).is_none() && house.log_ins.hashed() == hashed {
            tokio::task::yield_now().await;
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !house.log_ins.is_limited(Origin::of(HOME)) {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flood_takes_no_more_memory_than_there_are_turns() {
    let house = House::new("");
    let flood = |from: u32| {
        let house = &house;
        async move {
            let headers: Vec<String> = (0..100).map(|i| basic(["alice", "nobody"][i % 2], &i.to_string())).collect();
            let all = headers.iter().zip(from..).map(|(header, from)| house.show(header, at(from)));
            assert!(futures::future::join_all(all).await.into_iter().all(|one| one == "wrong"));
            // Verifications give their turn back before they answer.
            house.log_ins.turns().memories()
        }
    };
    let (mut first, mut second) = (flood(0).await, flood(1000).await);
    assert_eq!(first.len(), std::thread::available_parallelism().map_or(1, |n| n.get().min(4)));
    for memories in [&mut first, &mut second] {
        memories.retain(|(_, kib)| *kib > 0);
        assert!(!memories.is_empty() && memories.iter().all(|(_, kib)| *kib == 64), "{memories:?}");
        memories.sort();
    }
    assert!(first.iter().all(|memory| second.contains(memory)));
}

#[tokio::test]
async fn a_flood_from_everywhere_does_not_keep_waiting_who_was_right_here() {
    let house = House::new("");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
    house.log_ins.grow_stale();
    // Every turn of strangers is taken and every place to wait for one.
    let turns = house.log_ins.turns();
    let mut taken = Vec::new();
    for _ in 0..turns.memories().len() {
        taken.push(turns.take().await.unwrap());
    }
    let mut waiting = Vec::new();
    loop {
        let mut one = Box::pin(turns.take());
        match futures::FutureExt::now_or_never(one.as_mut()) {
            None => waiting.push(one),
            Some(Err(Busy)) => break,
            Some(Ok(_)) => panic!("a turn too many"),
        }
    }
    assert_eq!(house.log_in("bob", "bob's", at(7)).await, "busy");
    assert_eq!(house.log_in("alice", "alice's", HOME).await, "in");
    // Once the queue moves, a stranger has a place again.
    drop((taken, waiting));
    assert_eq!(house.log_in("bob", "bob's", at(7)).await, "in");
}

#[tokio::test]
async fn there_are_as_many_memories_as_turns_and_they_are_used_again() {
    let turns = Arc::new(Turns::new(2, 1));
    let (mut one, mut two) = (turns.take().await.unwrap(), turns.take().await.unwrap());
    assert_eq!((one.memory(8).len(), two.memory(8).len()), (8, 8));
    let mut third = Box::pin(turns.take());
    assert!(futures::FutureExt::now_or_never(third.as_mut()).is_none());
    assert_eq!(turns.take().await.err(), Some(Busy), "one may wait");
    drop(third);
    assert_eq!(turns.memories(), []);
    drop((one, two));
    let before = turns.memories();
    assert_eq!(before.iter().map(|(_, kib)| *kib).collect::<Vec<_>>(), [8, 8]);
    for _ in 0..10 {
        let mut turn = turns.take().await.unwrap();
        assert_eq!(turn.memory(4).len(), 8, "never given back to the allocator");
    }
    assert_eq!(turns.memories(), before);
}
