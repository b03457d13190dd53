//! Long and large: memory under big uploads, a million keys, ranges of encrypted objects, a far side. `make soak` runs these; each prints its figures.

mod encryption;
mod far;
mod listing;
mod memory;
