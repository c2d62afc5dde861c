//! Which master new connections go to: a pure decision.

use super::board::Health;
use crate::Address;

/// Picks a master for new connections: the leader when it is ready; else the current one while it is
/// ready; else the first that is ready; else one that answers without being ready, because it can at least explain itself; else
/// one of which nothing is known. Never one that does not answer, and none of `excluded`.
pub(super) fn choose<'a>(
    masters: impl Iterator<Item = (&'a Address, &'a Health)> + Clone,
    current: Option<&Address>,
    excluded: &[Address],
) -> Option<&'a Address> {
    let allowed = masters.filter(|(address, _)| !excluded.contains(address));
    allowed
        .filter_map(|(address, health)| {
            let rank = match health {
                Health::Ready { leads: true } => 0,
                Health::Ready { leads: false } => 2,
                Health::NotReady { .. } => 4,
                Health::Suspect { .. } => 6,
                Health::Unknown => 8,
                Health::Down { .. } => return None,
            };
            // Among equals the current one wins.
            let rank = if Some(address) == current { rank } else { rank + 1 };
            Some((rank, address))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each master: leads, ready, not ready, suspect, unknown, down.
    fn check(health: &str, current: Option<u16>, excluded: &[u16]) -> Option<u16> {
        let address = |port: u16| Address::new("m", port).unwrap();
        let reason = String::new;
        let masters: Vec<(Address, Health)> = (1..)
            .zip(health.chars())
            .map(|(port, letter)| {
                let health = match letter {
                    'l' => Health::Ready { leads: true },
                    'r' => Health::Ready { leads: false },
                    'n' => Health::NotReady { reason: reason() },
                    's' => Health::Suspect { misses: 1, reason: reason() },
                    'd' => Health::Down { reason: reason() },
                    _ => Health::Unknown,
                };
                (address(port), health)
            })
            .collect();
        let current = current.map(address);
        let excluded: Vec<Address> = excluded.iter().map(|port| address(*port)).collect();
        choose(masters.iter().map(|(address, health)| (address, health)), current.as_ref(), &excluded)
            .map(Address::port)
    }

    #[test]
    fn a_ready_choice_is_kept() {
        assert_eq!(check("rrr", Some(2), &[]), Some(2));
        assert_eq!(check("rrr", None, &[]), Some(1));
        assert_eq!(check("rrr", Some(2), &[2]), Some(1));
    }

    #[test]
    fn the_leader_is_chosen_while_it_is_ready() {
        assert_eq!(check("rrl", Some(1), &[]), Some(3));
        assert_eq!(check("rsn", Some(3), &[]), Some(1), "who leads and is not ready is not chosen");
        // For as long as the old one has not noticed, two may say so.
        assert_eq!(check("lrl", Some(3), &[]), Some(3));
    }

    #[test]
    fn readiness_beats_habit() {
        assert_eq!(check("rnr", Some(2), &[]), Some(1));
        assert_eq!(check("srr", Some(1), &[]), Some(2));
        assert_eq!(check("dur", Some(1), &[]), Some(3));
    }

    #[test]
    fn without_a_ready_one_any_that_answers_serves() {
        assert_eq!(check("dsn", Some(2), &[]), Some(3));
        assert_eq!(check("ddu", Some(1), &[]), Some(3));
        assert_eq!(check("nnd", Some(2), &[]), Some(2));
        assert_eq!(check("ddd", Some(1), &[]), None);
        assert_eq!(check("rdd", Some(1), &[1]), None);
    }
}
