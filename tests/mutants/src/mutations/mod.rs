// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mutations.

mod models;
mod product;
mod session;

use Effect::Broken;

/// What a mutation does to the protocol.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Tests whose names begin like this notice it.
    Broken(&'static str),
    /// Nothing notices it, for this reason.
    Harmless(&'static str),
}

/// A small change of the sources.
#[derive(Debug)]
pub struct Mutation {
    /// What is wrong with it.
    pub name: &'static str,
    pub effect: Effect,
    /// The file that is changed.
    pub file: &'static str,
    /// Texts that occur once in the file, and what takes their place.
    pub edits: &'static [(&'static str, &'static str)],
}

const fn mutation(
    name: &'static str,
    effect: Effect,
    file: &'static str,
    edits: &'static [(&'static str, &'static str)],
) -> Mutation {
    Mutation {
        name,
        effect,
        file,
        edits,
    }
}

/// Found by exploring interleavings.
const LOST: Effect = Broken("scenarios::");
/// Found by comparing the product's C and Rust with the models.
const DIFFERENT: Effect = Broken("sources::");

/// Returns the mutations of the product and, unless it is to be `product_only`, of the tests' models.
pub fn all(product_only: bool) -> impl Iterator<Item = &'static Mutation> {
    let models = if product_only { &[] } else { models::MUTATIONS };
    product::MUTATIONS
        .iter()
        .chain(session::MUTATIONS)
        .chain(models)
}
