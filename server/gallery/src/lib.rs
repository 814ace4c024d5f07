//! The gallery: exact and graph search over the templates of enrolled students.
