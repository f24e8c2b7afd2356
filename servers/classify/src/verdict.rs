//! From facts to a verdict.
//!
//! Facts that *name* a provider go before those that *suggest* one. If exactly one provider is left and no fact speaks
//! against it, that is the verdict. Everything else is `unknown`: with nothing that names anybody, and with facts that
//! contradict each other, which are told on both sides and never weighed against each other.

use abi::evidence::Item;
use heapless::Vec;
use protocol::classify::{Confidence, FACTS_MAX, Generation, Provider, Shape, Verdict};

use crate::controllers::Controller;
use crate::rules::{RULES, Rule, Says, has_vmbus, hypervisor};

/// Rules whose facts are seen.
pub type Seen = Vec<&'static Rule, { RULES.len() }>;

/// The facts that the evidence shows, in the order of the table.
pub fn seen(items: &[Item]) -> Seen {
    RULES.iter().filter(|rule| rule.is_seen(items)).collect()
}

/// Providers that facts name; if there is none, those that they suggest; then, if facts contradict a lone one, those
/// that these name or suggest.
pub fn candidates(seen: &Seen) -> Vec<Provider, 9> {
    let pointed = |pick: fn(&Rule) -> Option<Provider>| {
        let mut providers: Vec<Provider, 9> = Vec::new();
        for provider in seen.iter().filter_map(|rule| pick(rule)) {
            if !providers.contains(&provider) {
                // There are as many places as providers.
                let _ = providers.push(provider);
            }
        }
        providers
    };
    let named = |rule: &Rule| if let Says::Names(provider) = rule.says { Some(provider) } else { None };
    let suggested = |rule: &Rule| if let Says::Suggests(provider) = rule.says { Some(provider) } else { None };
    let mut candidates = pointed(named);
    if candidates.is_empty() {
        candidates = pointed(suggested);
    }
    if let [lone] = candidates[..] {
        for rule in seen.iter().filter(|rule| !rule.fits(lone)) {
            let other = named(rule).or_else(|| suggested(rule));
            if let Some(other) = other.filter(|other| !candidates.contains(other)) {
                let _ = candidates.push(other);
            }
        }
    }
    candidates
}

/// The verdict on the evidence; `controllers` are those among it.
pub fn verdict(items: &[Item], controllers: &[Controller]) -> Verdict {
    let seen = seen(items);
    let candidates = candidates(&seen);
    let first = candidates.first().copied().unwrap_or(Provider::Unknown);
    let is_clear = candidates.len() == 1 && seen.iter().all(|rule| rule.fits(first));
    let provider = if is_clear { first } else { Provider::Unknown };
    Verdict {
        provider,
        confidence: confidence(&seen, provider),
        generation: generation(items, provider),
        storage: storage(items, controllers),
        supporting: names(seen.iter().filter(|rule| rule.supports(first))),
        against: names(seen.iter().filter(|rule| !candidates.is_empty() && !rule.fits(first))),
        candidates,
    }
}

fn names<'a>(rules: impl Iterator<Item = &'a &'static Rule>) -> Vec<heapless::String<32>, FACTS_MAX> {
    rules.filter_map(|rule| rule.name.try_into().ok()).take(FACTS_MAX).collect()
}

/// By how many kinds of evidence a provider is supported.
fn confidence(seen: &Seen, provider: Provider) -> Confidence {
    let mut topics: Vec<_, { RULES.len() }> = Vec::new();
    for rule in seen.iter().filter(|rule| rule.supports(provider)) {
        if !topics.contains(&rule.topic()) {
            let _ = topics.push(rule.topic());
        }
    }
    match topics.len() {
        _ if provider == Provider::Unknown => Confidence::None,
        0 | 1 => Confidence::Low,
        2 => Confidence::Medium,
        _ => Confidence::High,
    }
}

fn generation(items: &[Item], provider: Provider) -> Generation {
    match (provider, hypervisor(items).as_deref()) {
        // This system boots by UEFI only.
        (Provider::Azure | Provider::HyperV, _) => Generation::Two,
        (Provider::Aws, Some("KVMKVMKVM")) => Generation::Nitro,
        (Provider::Aws, Some("XenVMMXenVMM")) => Generation::Xen,
        _ => Generation::None,
    }
}

fn storage(items: &[Item], controllers: &[Controller]) -> Vec<Shape, 8> {
    let mut shapes: Vec<Shape, 8> = Vec::new();
    for controller in controllers {
        if !shapes.contains(&controller.shape()) {
            let _ = shapes.push(controller.shape());
        }
    }
    if shapes.is_empty() {
        let behind = has_vmbus(items) || hypervisor(items).is_some_and(|name| name == "Microsoft Hv");
        let _ = shapes.push(if behind { Shape::NoneVisible } else { Shape::None });
    }
    shapes
}
