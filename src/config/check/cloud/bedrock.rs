//! `bedrock_key_config`

use std::collections::BTreeMap;

use http::uri::{Authority, Scheme};
use serde::Deserialize;

use super::{Given, Place, hidden};
use crate::config::check::Check;
use crate::config::check::keys::Details;
use crate::config::check::resolve_source::Lines;
use crate::config::path::{child, item};
use crate::config::source::SecretSource;
use crate::config::{AwsAuth, AwsCredentials, Bedrock, Bucket, Cloud, Endpoint, Region, file};
use crate::secret::Secret;

/// The name among regions whose pair is for those without their own.
const GLOBAL: &str = "global";

/// A pair in a `value` that is a map of regions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default, alias = "aws_access_key_id", deserialize_with = "hidden")]
    access_key: Option<Secret>,
    #[serde(default, alias = "aws_secret_access_key", deserialize_with = "hidden")]
    secret_key: Option<Secret>,
    #[serde(default, alias = "aws_session_token", deserialize_with = "hidden")]
    session_token: Option<Secret>,
}

/// The pair of the key or of a region, and where its access key is from.
struct Found {
    pair: AwsCredentials,
    source: String,
}

/// What stands where a pair may.
enum Stands {
    Nothing,
    /// Half of one, or what cannot be read: it was reported.
    Wrong,
    Pair(Found),
}

/// What `arn` names.
enum Arn {
    /// A role that is assumed.
    Role(String),
    /// Inference profiles.
    Profiles(String),
}

/// Everything that may allow a request, before it is known for which region.
struct Credentials {
    bearer: Option<Secret>,
    own: Option<AwsCredentials>,
    regions: BTreeMap<String, AwsCredentials>,
    role: Option<String>,
}

impl Check<'_, '_> {
    pub(super) fn bedrock(&mut self, at: &Place<'_>, written: Option<&file::Bedrock>) -> Details {
        let nothing = file::Bedrock::default();
        let table = written.unwrap_or(&nothing);
        let deployments = self.deployments(at.table, &table.deployments);
        let batch = table.batch_s3_config.as_ref();
        let buckets =
            batch.map(|batch| self.buckets(&at.of("batch_s3_config"), batch)).unwrap_or_default();
        let arn = match &table.arn {
            Some(source) => {
                self.plain(&at.of("arn"), source).and_then(|arn| self.arn(at, &arn)).map(Some)
            }
            None => Some(None),
        };
        let pairs = self.pairs(at, table);
        let default = self.default_region(at, table, pairs.as_ref());
        let (Some(arn), Some((mut credentials, source)), Some(default)) = (arn, pairs, default)
        else {
            return Details { deployments, ..Details::default() };
        };
        let arn = match arn {
            Some(Arn::Role(role)) => {
                credentials.role = Some(role);
                None
            }
            Some(Arn::Profiles(profiles)) => Some(profiles),
            None => None,
        };
        if credentials.role.is_some() && credentials.bearer.is_some() {
            let help = "give the key an access_key and a secret_key in place of `value`";
            self.error(&at.of("arn"), "a Bedrock API key cannot assume a role", help);
        }
        let source = match &credentials.role {
            Some(_) => format!("role assumed with {source}"),
            None => source,
        };
        let regions = self.regions(at, &credentials, &default);
        let endpoint = regions.first().map(|region| region.endpoint.clone());
        let cloud = Cloud::Bedrock(Bedrock { regions, arn, buckets });
        Details { endpoint, deployments, cloud, source: Some(source), ..Details::default() }
    }

    /// All pairs of the key and its API key; and where they are from, in words.
    fn pairs(&mut self, at: &Place<'_>, table: &file::Bedrock) -> Option<(Credentials, String)> {
        let file::Bedrock { access_key, secret_key, session_token, regions: written, .. } = table;
        let own = self.pair(at.table, [access_key, secret_key, session_token]);
        let mut regions = BTreeMap::new();
        let mut sound = true;
        for (name, pair) in written {
            let path = child(&at.of("regions"), name);
            let file::RegionPair { access_key, secret_key, session_token } = pair;
            let pair = self.pair(&path, [access_key, secret_key, session_token]);
            sound &= self.aws_region(&path, "this", name) && !matches!(pair, Stands::Wrong);
            if let Stands::Pair(found) = pair {
                regions.insert(name.clone(), found.pair);
            }
        }
        let (mut bearer, mut source) = (None, None);
        match at.value {
            Given::Nothing => {}
            Given::Unknown => return None,
            Given::Plain(value) => {
                sound &= self.sound(&at.value(), &value.text, Lines::One);
                bearer = Some(Secret::new(value.text.clone()));
                source = Some(format!("API key from {}", value.source));
                if !matches!(own, Stands::Nothing) {
                    let message = "the key has a `value` and a pair of its own";
                    self.error(&at.value(), message, "remove one of the two");
                }
            }
            Given::Json(value) => {
                for (name, pair) in self.region_map(at, &value.text)? {
                    if written.contains_key(&name) {
                        let path = child(&at.of("regions"), &name);
                        let message = "this region has a pair in the `value` as well";
                        self.error(&path, message, "remove one of the two");
                    }
                    regions.insert(name, pair);
                }
                source = Some(format!("access keys from {}", value.source));
            }
        }
        let own = match own {
            Stands::Pair(found) => Some(found),
            Stands::Nothing => None,
            Stands::Wrong => return None,
        };
        if !sound {
            return None;
        }
        let source = source
            .or_else(|| own.as_ref().map(|found| format!("access key from {}", found.source)))
            .unwrap_or_else(|| match written.len() {
                0 => "default chain".to_owned(),
                _ => "access keys of regions".to_owned(),
            });
        let own = own.map(|found| found.pair);
        Some((Credentials { bearer, own, regions, role: None }, source))
    }

    /// A `value` such as `{ "eu-west-1": { "access_key": …, "secret_key": … } }`.
    fn region_map(
        &mut self,
        at: &Place<'_>,
        text: &str,
    ) -> Option<BTreeMap<String, AwsCredentials>> {
        let whole = "{ \"us-east-1\": { \"access_key\": …, \"secret_key\": … } }";
        let map: BTreeMap<String, Text> = self.json(&at.value(), text, "", whole)?;
        let mut pairs = BTreeMap::new();
        if map.is_empty() {
            self.error(&at.value(), "the JSON text names no region", whole);
            return None;
        }
        for (name, Text { access_key, secret_key, session_token }) in map {
            if !self.aws_region(&at.value(), "a member of the JSON text", &name) {
                return None;
            }
            let missing = if access_key.is_none() { "access_key" } else { "secret_key" };
            let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
                // The names in the text are content too, and are not repeated.
                let message = format!("`{missing}` of a region is missing in the JSON text");
                self.error(&at.value(), message, "access_key and secret_key go together");
                return None;
            };
            pairs.insert(name, AwsCredentials { access_key, secret_key, session_token });
        }
        Some(pairs)
    }

    /// The pair at a path.
    fn pair(&mut self, path: &str, parts: [&Option<SecretSource>; 3]) -> Stands {
        let names = ["access_key", "secret_key", "session_token"];
        let written = parts.map(Option::is_some);
        let doubtful = names.iter().any(|name| self.doubtful(&child(path, name)));
        if !written.contains(&true) {
            return if doubtful { Stands::Wrong } else { Stands::Nothing };
        }
        let mut read = |place: usize| {
            let source = parts[place].as_ref()?;
            self.secret(&child(path, names[place]), source, Lines::One)
        };
        let (access, secret, token) = (read(0), read(1), read(2));
        let half = names.iter().zip(written).take(2).find(|(_, written)| !written);
        if let Some((half, _)) = half.filter(|(half, _)| !self.doubtful(&child(path, half))) {
            let help = "access_key and secret_key go together";
            self.error(path, format!("`{half}` is missing"), help);
        }
        let (Some(access), Some(secret)) = (access, secret) else { return Stands::Wrong };
        if doubtful || (written[2] && token.is_none()) {
            return Stands::Wrong;
        }
        let pair = AwsCredentials {
            access_key: Secret::new(access.text),
            secret_key: Secret::new(secret.text),
            session_token: token.map(|token| Secret::new(token.text)),
        };
        Stands::Pair(Found { pair, source: access.source })
    }

    /// `region`, else the first that has a pair, else that of the environment.
    fn default_region(
        &mut self,
        at: &Place<'_>,
        table: &file::Bedrock,
        pairs: Option<&(Credentials, String)>,
    ) -> Option<String> {
        let path = at.of("region");
        if let Some(source) = &table.region {
            let region = self.plain(&path, source)?;
            let good = region != GLOBAL && self.aws_region(&path, "`region`", &region);
            if region == GLOBAL {
                let help = "for example \"us-east-1\"; `global` stands under regions only";
                self.error(&path, "`region` must be a region", help);
            }
            return good.then_some(region);
        }
        let (credentials, _) = pairs?;
        if let Some(first) = credentials.regions.keys().find(|name| *name != GLOBAL) {
            return Some(first.clone());
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if let Some(region) = self.variable_text(name) {
                let what = format!("environment variable `{name}`");
                return self.aws_region(at.key, &what, &region).then_some(region);
            }
        }
        if !self.doubtful(&path) {
            let at = if self.tree.origin(at.table).is_some() { at.table } else { at.key };
            self.error(
                at,
                "`region` is missing, and AWS_REGION is not set",
                "for example bedrock_key_config = { region = \"us-east-1\" }",
            );
        }
        None
    }

    /// The regions, the default first, each with what its requests are allowed by.
    fn regions(&mut self, at: &Place<'_>, found: &Credentials, default: &str) -> Vec<Region> {
        let Credentials { bearer, own, regions, role } = found;
        let others = regions.keys().map(String::as_str);
        let others = others.filter(|name| *name != GLOBAL && *name != default);
        let mut list = Vec::with_capacity(regions.len() + 1);
        for name in [default].into_iter().chain(others) {
            let pair = regions.get(name).or_else(|| regions.get(GLOBAL)).or(own.as_ref());
            let access = match (pair, bearer, role) {
                (from, _, Some(arn)) if from.is_some() || regions.is_empty() => {
                    AwsAuth::Role { arn: arn.clone(), from: from.cloned() }
                }
                (Some(pair), _, _) => AwsAuth::Pair(pair.clone()),
                (None, Some(key), _) => AwsAuth::Bearer(key.clone()),
                (None, None, _) if regions.is_empty() => AwsAuth::Chain,
                (None, None, _) => {
                    let help =
                        format!("write it under regions.{name}, or one under regions.global");
                    let message = format!("there is no pair for the region {name}");
                    self.error(at.table, message, help.as_str());
                    continue;
                }
            };
            let endpoint = if at.around.has_base {
                Some((**at.around.endpoint).clone())
            } else {
                endpoint(name)
            };
            list.extend(endpoint.map(|endpoint| Region {
                name: name.to_owned(),
                endpoint,
                auth: access,
            }));
        }
        list
    }

    /// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`
    fn arn(&mut self, at: &Place<'_>, text: &str) -> Option<Arn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", partition, "iam", _, _, resource]
                if partition.starts_with("aws") && resource.starts_with("role/") =>
            {
                return Some(Arn::Role(text.to_owned()));
            }
            ["arn", _, "bedrock", _, _, resource] if !resource.is_empty() => {
                return Some(Arn::Profiles(text.trim_end_matches('/').to_owned()));
            }
            _ => {}
        }
        self.error(
            &at.of("arn"),
            "`arn` is neither that of a role nor that of inference profiles",
            "\"arn:aws:iam::123456789012:role/NAME\" is assumed, \"arn:aws:bedrock:REGION:123456789012:inference-profile\" stands before models",
        );
        None
    }

    /// `what` is what should be the name of a region.
    fn aws_region(&mut self, path: &str, what: &str, name: &str) -> bool {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = !name.is_empty() && !name.starts_with('-') && name.bytes().all(small);
        if !good {
            let message = format!("{what} is not the name of a region");
            self.error(path, message, "for example \"us-east-1\"");
        }
        good
    }

    fn buckets(&mut self, path: &str, written: &file::BatchS3) -> Vec<Bucket> {
        let file::BatchS3 { buckets } = written;
        let list = child(path, "buckets");
        let mut default: Option<String> = None;
        for (place, bucket) in buckets.iter().enumerate() {
            let file::Bucket { bucket_name, prefix: _, is_default } = bucket;
            let at = item(&list, place);
            if bucket_name.as_deref().is_some_and(str::is_empty) {
                self.error(&child(&at, "bucket_name"), "`bucket_name` is empty", None);
            }
            if *is_default && let Some(first) = default.replace(at.clone()) {
                let place = self.place(&first);
                self.error(
                    &child(&at, "is_default"),
                    format!("another bucket is the default already{place}"),
                    "one bucket is used when a job names none",
                );
            }
        }
        let buckets = buckets.iter().map(|bucket| Bucket {
            name: bucket.bucket_name.clone().unwrap_or_default(),
            prefix: bucket.prefix.as_deref().unwrap_or_default().trim_matches('/').to_owned(),
            is_default: bucket.is_default,
        });
        buckets.collect()
    }
}

/// Where a region answers. The suffixes are those of the partitions in the AWS SDKs' `partitions.json`.
fn endpoint(region: &str) -> Option<Endpoint> {
    let suffixes = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
    ];
    let own = suffixes.iter().find(|(prefix, _)| region.starts_with(prefix));
    let suffix = own.map_or("amazonaws.com", |(_, suffix)| suffix);
    let authority = Authority::try_from(format!("bedrock-runtime.{region}.{suffix}")).ok()?;
    Some(Endpoint { scheme: Scheme::HTTPS, authority, prefix: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_domains_of_their_own() {
        for (region, host) in [
            ("us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "bedrock-runtime.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", "bedrock-runtime.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "bedrock-runtime.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(
                endpoint(region).map(|own| own.authority.to_string()).as_deref(),
                Some(host)
            );
        }
    }
}
