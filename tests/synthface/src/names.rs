//! Names from many places, drawn at random.

use std::collections::HashSet;

use crate::math::Random;

const FEMININE: [&str; 40] = [
    "Aiko", "Amara", "Ana", "Anjali", "Astrid", "Beatriz", "Camille", "Chiara", "Dana", "Elena", "Esra",
    "Fatima", "Freya", "Grace", "Hana", "Ingrid", "Isabel", "Jana", "Joana", "Kavya", "Lan", "Leila",
    "Lucia", "Maia", "Mariam", "Mei", "Nadia", "Naledi", "Noor", "Olga", "Priya", "Rosa", "Salma", "Sofia",
    "Tala", "Thandi", "Valeria", "Wanjiru", "Yuki", "Zeynep",
];

const MASCULINE: [&str; 40] = [
    "Adam", "Ahmed", "Anders", "Arjun", "Bao", "Carlos", "Chidi", "Daniel", "David", "Diego", "Emil",
    "Farid", "Felix", "Hassan", "Hugo", "Ivan", "Jakub", "Jomo", "Jonas", "Juan", "Kenji", "Kofi", "Lars",
    "Leo", "Luca", "Marek", "Mateo", "Minh", "Nikolai", "Omar", "Pavel", "Rafael", "Ravi", "Samir", "Sefa",
    "Tariq", "Thabo", "Tomas", "Wei", "Yusuf",
];

const FAMILY: [&str; 64] = [
    "Abebe",
    "Adeyemi",
    "Ali",
    "Almeida",
    "Andersson",
    "Bauer",
    "Bello",
    "Bianchi",
    "Castro",
    "Chen",
    "Costa",
    "Cruz",
    "Demir",
    "Diaz",
    "Dlamini",
    "Dubois",
    "Eriksen",
    "Farah",
    "Fernandes",
    "Fischer",
    "Garcia",
    "Gupta",
    "Haddad",
    "Hansen",
    "Hoang",
    "Horvat",
    "Ibrahim",
    "Ivanova",
    "Jensen",
    "Kamau",
    "Kaya",
    "Khan",
    "Kim",
    "Kovacs",
    "Kowalski",
    "Kumar",
    "Lambert",
    "Lee",
    "Lima",
    "Lopez",
    "Mahlangu",
    "Mensah",
    "Meyer",
    "Moreau",
    "Mwangi",
    "Nakamura",
    "Nguyen",
    "Nowak",
    "Okafor",
    "Osei",
    "Park",
    "Patel",
    "Petrov",
    "Ramos",
    "Reyes",
    "Rossi",
    "Sato",
    "Silva",
    "Singh",
    "Tanaka",
    "Torres",
    "Tran",
    "Wang",
    "Yilmaz",
];

/// An endless supply of names that do not repeat.
pub(crate) struct Names {
    random: Random,
    used: HashSet<String>,
}

impl Names {
    pub(crate) fn new(seed: u64) -> Names {
        Names { random: Random::new(seed, 22), used: HashSet::new() }
    }

    /// A name that has not been given before; family names double when single ones run out.
    pub(crate) fn next(&mut self, masculine: bool) -> String {
        loop {
            let given = self.random.pick(if masculine { MASCULINE } else { FEMININE });
            let mut name = format!("{given} {}", self.random.pick(FAMILY));
            if self.used.contains(&name) {
                name = format!("{name}-{}", self.random.pick(FAMILY));
            }
            if self.used.insert(name.clone()) {
                return name;
            }
        }
    }
}
