//! `bedrock_key_config`

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{CloudKey, deserialize_secret};
use crate::config::check::key_parts::{KeyValue, KindSettings};
use crate::config::check::report::Check;
use crate::config::check::resolve_source::Lines;
use crate::config::path::{child, item};
use crate::config::source::SecretSource;
use crate::config::{AwsAuth, AwsCredentials, Bedrock, Bucket, Cloud, Endpoint, Region, file};
use crate::secret::Secret;

/// The entry of `regions` whose pair applies to regions without their own.
const GLOBAL: &str = "global";

/// A pair in a `value` in JSON, which maps regions to pairs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPair {
    #[serde(default, alias = "aws_access_key_id", deserialize_with = "deserialize_secret")]
    access_key: Option<Secret>,
    #[serde(default, alias = "aws_secret_access_key", deserialize_with = "deserialize_secret")]
    secret_key: Option<Secret>,
    #[serde(default, alias = "aws_session_token", deserialize_with = "deserialize_secret")]
    session_token: Option<Secret>,
}

/// The pair of the key or of a region, and the source of its access key.
struct SourcedPair {
    pair: AwsCredentials,
    source: String,
}

/// The optional pair of the key or of a region.
enum PairSetting {
    Absent,
    /// Incomplete or not readable; it was reported.
    Invalid,
    Valid(SourcedPair),
}

/// The resource that `arn` names.
enum Arn {
    /// A role to assume.
    Role(String),
    /// Inference profiles.
    Profiles(String),
}

/// All credentials of a key, before they are assigned to regions.
struct Credentials {
    bearer: Option<Secret>,
    own: Option<AwsCredentials>,
    regions: BTreeMap<String, AwsCredentials>,
    role: Option<String>,
}

impl Check<'_, '_> {
    pub(super) fn bedrock(
        &mut self,
        at: &CloudKey<'_>,
        written: Option<&file::Bedrock>,
    ) -> KindSettings {
        let default = file::Bedrock::default();
        let table = written.unwrap_or(&default);
        let deployments = self.deployments(at.table, &table.deployments);
        let batch = table.batch_s3_config.as_ref();
        let buckets =
            batch.map(|batch| self.buckets(&at.path("batch_s3_config"), batch)).unwrap_or_default();
        let arn = match &table.arn {
            Some(source) => self
                .plain(&at.path("arn"), source)
                .and_then(|arn| self.parse_arn(at, &arn))
                .map(Some),
            None => Some(None),
        };
        let pairs = self.pairs(at, table);
        let default_region = self.default_region(at, table, pairs.as_ref());
        let (Some(arn), Some((mut credentials, source)), Some(default_region)) =
            (arn, pairs, default_region)
        else {
            return KindSettings { deployments, ..KindSettings::default() };
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
            let help = "write an access_key and a secret_key instead of `value`";
            self.error(&at.path("arn"), "a Bedrock API key cannot assume a role", help);
        }
        let source = match &credentials.role {
            Some(_) => format!("role assumed with {source}"),
            None => source,
        };
        let regions = self.regions(at, &credentials, &default_region);
        let endpoint = regions.first().map(|region| region.endpoint.clone());
        let cloud = Cloud::Bedrock(Bedrock { regions, arn, buckets });
        KindSettings {
            endpoint,
            deployments,
            cloud,
            source: Some(source),
            ..KindSettings::default()
        }
    }

    /// Resolves all pairs of the key and its API key. Returns them with their source for display.
    fn pairs(&mut self, at: &CloudKey<'_>, table: &file::Bedrock) -> Option<(Credentials, String)> {
        let file::Bedrock { access_key, secret_key, session_token, regions: written, .. } = table;
        let own = self.pair(at.table, [access_key, secret_key, session_token]);
        let mut regions = BTreeMap::new();
        let mut is_valid = true;
        for (name, pair) in written {
            let path = child(&at.path("regions"), name);
            let file::RegionPair { access_key, secret_key, session_token } = pair;
            let pair = self.pair(&path, [access_key, secret_key, session_token]);
            is_valid &=
                self.check_aws_region(&path, "this", name) && !matches!(pair, PairSetting::Invalid);
            if let PairSetting::Valid(found) = pair {
                regions.insert(name.clone(), found.pair);
            }
        }
        let (mut bearer, mut source) = (None, None);
        match at.value {
            KeyValue::Absent => {}
            KeyValue::Unknown => return None,
            KeyValue::Plain(value) => {
                is_valid &= self.check_characters(&at.value_path(), &value.text, Lines::One);
                bearer = Some(value.text.clone());
                source = Some(format!("API key from {}", value.source));
                if !matches!(own, PairSetting::Absent) {
                    let message = "the key has both a `value` and a pair of access keys";
                    self.error(&at.value_path(), message, "remove one of the two");
                }
            }
            KeyValue::Json(value) => {
                for (name, pair) in self.region_map(at, &value.text)? {
                    if written.contains_key(&name) {
                        let path = child(&at.path("regions"), &name);
                        let message = "the `value` has a pair for this region too";
                        self.error(&path, message, "remove one of the two");
                    }
                    regions.insert(name, pair);
                }
                source = Some(format!("access keys from {}", value.source));
            }
        }
        let own = match own {
            PairSetting::Valid(found) => Some(found),
            PairSetting::Absent => None,
            PairSetting::Invalid => return None,
        };
        if !is_valid {
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

    /// Parses a `value` such as `{ "eu-west-1": { "access_key": …, "secret_key": … } }`.
    fn region_map(
        &mut self,
        at: &CloudKey<'_>,
        text: &Secret,
    ) -> Option<BTreeMap<String, AwsCredentials>> {
        let expected = "write { \"us-east-1\": { \"access_key\": …, \"secret_key\": … } }";
        let map: BTreeMap<String, JsonPair> = self.json(&at.value_path(), text, "", expected)?;
        let mut pairs = BTreeMap::new();
        if map.is_empty() {
            self.error(&at.value_path(), "the JSON text has no region", expected);
            return None;
        }
        for (name, JsonPair { access_key, secret_key, session_token }) in map {
            if !self.check_aws_region(&at.value_path(), "a member of the JSON text", &name) {
                return None;
            }
            let missing = if access_key.is_none() { "access_key" } else { "secret_key" };
            let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
                // The names in the text may be secret too, and are not repeated.
                let message = format!("a region in the JSON text has no `{missing}`");
                self.error(
                    &at.value_path(),
                    message,
                    "access_key and secret_key must be set together",
                );
                return None;
            };
            pairs.insert(name, AwsCredentials { access_key, secret_key, session_token });
        }
        Some(pairs)
    }

    /// Resolves the pair of the table at a path.
    fn pair(&mut self, path: &str, parts: [&Option<SecretSource>; 3]) -> PairSetting {
        let names = ["access_key", "secret_key", "session_token"];
        let is_written = parts.map(Option::is_some);
        let has_reported = names.iter().any(|name| self.is_reported(&child(path, name)));
        if !is_written.contains(&true) {
            return if has_reported { PairSetting::Invalid } else { PairSetting::Absent };
        }
        let mut read = |index: usize| {
            let source = parts[index].as_ref()?;
            self.secret(&child(path, names[index]), source, Lines::One)
        };
        let (access, secret, token) = (read(0), read(1), read(2));
        let missing = names.iter().zip(is_written).take(2).find(|(_, is_written)| !is_written);
        if let Some((missing, _)) =
            missing.filter(|(name, _)| !self.is_reported(&child(path, name)))
        {
            let help = "access_key and secret_key must be set together";
            self.error(path, format!("`{missing}` is missing"), help);
        }
        let (Some(access), Some(secret)) = (access, secret) else { return PairSetting::Invalid };
        if has_reported || (is_written[2] && token.is_none()) {
            return PairSetting::Invalid;
        }
        let pair = AwsCredentials {
            access_key: access.text,
            secret_key: secret.text,
            session_token: token.map(|token| token.text),
        };
        PairSetting::Valid(SourcedPair { pair, source: access.source })
    }

    /// Returns the first of: `region`, the first region with a pair, the region of the environment.
    fn default_region(
        &mut self,
        at: &CloudKey<'_>,
        table: &file::Bedrock,
        pairs: Option<&(Credentials, String)>,
    ) -> Option<String> {
        let path = at.path("region");
        if let Some(source) = &table.region {
            let region = self.plain(&path, source)?;
            let is_valid = region != GLOBAL && self.check_aws_region(&path, "`region`", &region);
            if region == GLOBAL {
                let help = "for example \"us-east-1\"; `global` is allowed in `regions` only";
                self.error(&path, "`region` must be the name of a region", help);
            }
            return is_valid.then_some(region);
        }
        let (credentials, _) = pairs?;
        if let Some(first) = credentials.regions.keys().find(|name| *name != GLOBAL) {
            return Some(first.clone());
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if let Some(region) = self.variable_text(name) {
                let what = format!("environment variable `{name}`");
                return self.check_aws_region(at.key, &what, &region).then_some(region);
            }
        }
        if !self.is_reported(&path) {
            let at = if self.tree.origin(at.table).is_some() { at.table } else { at.key };
            self.error(
                at,
                "`region` is missing, and AWS_REGION is not set",
                "for example bedrock_key_config = { region = \"us-east-1\" }",
            );
        }
        None
    }

    /// Returns the regions with their credentials, the default region first.
    fn regions(&mut self, at: &CloudKey<'_>, found: &Credentials, default: &str) -> Vec<Region> {
        let Credentials { bearer, own, regions, role } = found;
        let others = regions.keys().map(String::as_str);
        let others = others.filter(|name| *name != GLOBAL && *name != default);
        let mut list = Vec::with_capacity(regions.len() + 1);
        for name in [default].into_iter().chain(others) {
            let pair = regions.get(name).or_else(|| regions.get(GLOBAL)).or(own.as_ref());
            let auth = match (pair, bearer, role) {
                (from, _, Some(arn)) if from.is_some() || regions.is_empty() => {
                    AwsAuth::Role { arn: arn.clone(), from: from.cloned() }
                }
                (Some(pair), _, _) => AwsAuth::Pair(pair.clone()),
                (None, Some(key), _) => AwsAuth::Bearer(key.clone()),
                (None, None, _) if regions.is_empty() => AwsAuth::Chain,
                (None, None, _) => {
                    let help = format!("add a pair under regions.{name} or regions.global");
                    let message = format!("the region {name} has no pair of access keys");
                    self.error(at.table, message, help.as_str());
                    continue;
                }
            };
            let endpoint = if at.context.has_base_url {
                Some((**at.context.endpoint).clone())
            } else {
                endpoint(name)
            };
            list.extend(endpoint.map(|endpoint| Region { name: name.to_owned(), endpoint, auth }));
        }
        list
    }

    /// Parses `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
    fn parse_arn(&mut self, at: &CloudKey<'_>, text: &str) -> Option<Arn> {
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
            &at.path("arn"),
            "`arn` is neither the ARN of a role nor the ARN prefix of inference profiles",
            "write the role to assume, \"arn:aws:iam::123456789012:role/NAME\", or a prefix for model names, \"arn:aws:bedrock:REGION:123456789012:inference-profile\"",
        );
        None
    }

    /// Checks the name of a region. `what` names the text in messages.
    fn check_aws_region(&mut self, path: &str, what: &str, name: &str) -> bool {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_valid = !name.is_empty() && !name.starts_with('-') && name.bytes().all(small);
        if !is_valid {
            let message = format!("{what} is not the name of a region");
            self.error(path, message, "for example \"us-east-1\"");
        }
        is_valid
    }

    fn buckets(&mut self, path: &str, written: &file::BatchS3) -> Vec<Bucket> {
        let file::BatchS3 { buckets } = written;
        let list = child(path, "buckets");
        let mut default: Option<String> = None;
        for (index, bucket) in buckets.iter().enumerate() {
            let file::Bucket { bucket_name, prefix: _, is_default } = bucket;
            let at = item(&list, index);
            if bucket_name.as_deref().is_some_and(str::is_empty) {
                self.error(&child(&at, "bucket_name"), "`bucket_name` is empty", None);
            }
            if *is_default && let Some(first) = default.replace(at.clone()) {
                let first = self.location(&first);
                self.error(
                    &child(&at, "is_default"),
                    format!("another bucket is already the default{first}"),
                    "only one bucket can be the default",
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

/// Returns the address of a region. The suffixes are those of the partitions in the AWS SDKs' `partitions.json`.
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
    Endpoint::https(format!("bedrock-runtime.{region}.{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_domain() {
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
