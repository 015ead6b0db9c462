//! The copies of configurations, around the writes that rely on them: they stand before a revision that names them is stored or
//! given to the primary, and go when no revision names them any more. They are read live: no cache keeps what they say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::apply::Hands;
use super::configs::key;
use super::draw::Act;
use super::meta;
use super::projection;
use super::site::Site;
use crate::object::{ownership, text};
use crate::rollout::{Assertion, Fingerprint, Known};
use crate::workload::configs::{self, ConfigRef};
use crate::workload::{self, store};

impl Hands<'_> {
    /// The requests that come before those of the assertion. `template` is the content of its stored revision, where it has one.
    /// `Err` says what is awaited.
    pub(super) async fn copies(
        &self,
        site: &Site,
        assertion: &Assertion,
        template: Option<&Value>,
    ) -> Result<Vec<Act>, String> {
        match (assertion, template) {
            (Assertion::Stored(fingerprint), _) => {
                let target = site.target.present().and_then(|it| it.pointer("/spec/template"));
                let target = target.filter(|template| workload::fingerprint(template) == *fingerprint);
                let before = || site.configs.before_as(fingerprint).map(|before| &before.template);
                match target.or_else(before) {
                    Some(template) => self.standing(site, template).await,
                    None => Ok(Vec::new()),
                }
            }
            (Assertion::PrimaryExists { .. } | Assertion::PrimaryTemplate { .. }, Some(template)) => {
                self.standing(site, template).await
            }
            (Assertion::Pruned(keep), _) => self.surplus(site, keep).await,
            (Assertion::Released { everything: true }, _) => self.released(site).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Re-owns the copies that an inherited primary or revision needs: their old owner's end would be theirs.
    pub(super) async fn copies_inherited(&self, site: &Site) -> Result<Vec<Act>, String> {
        let stored = site.store.present().into_iter().flatten();
        let mut copies: BTreeSet<ConfigRef> = stored.flat_map(|it| projection::copies(it)).collect();
        copies.extend(of_primary(site));
        let mut acts = Vec::new();
        for copy in copies {
            if let Some(standing) = self.read(site, &copy).await? {
                acts.extend(adopted(site, &copy, &standing));
            }
        }
        Ok(acts)
    }

    /// Makes every copy that the template names, out of an original that still has the content by which it is named.
    async fn standing(&self, site: &Site, template: &Value) -> Result<Vec<Act>, String> {
        let mut acts = Vec::new();
        for copy in configs::copies(template) {
            let copied = site.configs.source_of(&copy);
            match (self.read(site, &copy).await?, copied) {
                (Some(standing), _) if meta::deleting(&standing) => return Err(format!("the end of {copy}")),
                (Some(standing), Some(copied)) if configs::content(&standing) != copied.digest.content => {
                    return Err(format!(
                        "{copy} stands in the way: it is no copy of {}; its deletion",
                        copied.source
                    ));
                }
                (Some(standing), _) => acts.extend(adopted(site, &copy, &standing)),
                (None, None) => {
                    return Err(format!(
                        "{copy}, which was deleted and whose content stands nowhere else,"
                    ));
                }
                (None, Some(copied)) => {
                    let source = self.read(site, &copied.source).await?;
                    let source = source.filter(|source| configs::content(source) == copied.digest.content);
                    let source = source.ok_or_else(|| format!("the content of {}", copied.source))?;
                    let body = configs::copy(&source, copy.kind, &copy.name, &site.owner, &self.rules.workload);
                    acts.push(Act::Create(key(meta::namespace(&site.raw), &copy), body));
                }
            }
        }
        Ok(acts)
    }

    /// Deletes the copies that only revisions name which are not kept.
    async fn surplus(&self, site: &Site, keep: &[Fingerprint]) -> Result<Vec<Act>, String> {
        let (mut kept, mut surplus) = (BTreeSet::from_iter(of_primary(site)), BTreeSet::new());
        for revision in site.store.present().into_iter().flatten() {
            let side = if projection::is_kept(revision, keep) {
                &mut kept
            } else {
                &mut surplus
            };
            side.extend(projection::copies(revision));
        }
        let mut acts = Vec::new();
        for copy in surplus.difference(&kept) {
            if let Some(standing) = self.read(site, copy).await?
                && ownership::controls(site.uid(), &standing)
            {
                acts.push(Act::Delete(key(meta::namespace(&site.raw), copy), standing.into()));
            }
        }
        Ok(acts)
    }

    /// The primary stays without its Canary, and reads them.
    async fn released(&self, site: &Site) -> Result<Vec<Act>, String> {
        let mut acts = Vec::new();
        let template = site.primary.present().and_then(|it| it.pointer("/spec/template"));
        // With Flagger's copies, whose names tell nothing.
        let mut read: Vec<ConfigRef> = template
            .map(|it| configs::references(it).into_keys().collect())
            .unwrap_or_default();
        if !self.rules.config_tracking {
            read = of_primary(site);
        }
        for copy in read {
            if let Some(standing) = self.read(site, &copy).await? {
                let operations = ownership::release(site.uid(), &standing);
                if !operations.0.is_empty() {
                    acts.push(Act::Patch(key(meta::namespace(&site.raw), &copy), operations));
                }
            }
        }
        Ok(acts)
    }

    async fn read(&self, site: &Site, config: &ConfigRef) -> Result<Option<Value>, String> {
        match self.look.whole(&key(meta::namespace(&site.raw), config)).await {
            Known::Present(whole) => Ok(Some(whole)),
            Known::Absent => Ok(None),
            _ => Err(config.to_string()),
        }
    }
}

/// The copies that the primary reads.
fn of_primary(site: &Site) -> Vec<ConfigRef> {
    let template = site.primary.present().and_then(|it| it.pointer("/spec/template"));
    template.map(configs::copies).unwrap_or_default()
}

/// The patch by which a copy of ours has this Canary as its owner, if it has not.
fn adopted(site: &Site, copy: &ConfigRef, standing: &Value) -> Option<Act> {
    let label = standing
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(store::CANARY));
    if label.and_then(Value::as_str) != Some(&store::label(&site.owner.name)) {
        return None;
    }
    let operations = ownership::adopt(standing, &site.owner);
    let key = key(text(standing, "/metadata/namespace"), copy);
    (!operations.0.is_empty()).then_some(Act::Patch(key, operations))
}
