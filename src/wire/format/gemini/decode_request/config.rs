//! `generationConfig`. <https://ai.google.dev/api/generate-content#generationconfig>

use serde_json::Value;

use crate::wire::feature::Feature;
use crate::wire::format::gemini::object::Object;
use crate::wire::format::gemini::schema::to_json_schema;
use crate::wire::format::gemini::settings::SAMPLING;
use crate::wire::ir::{Effort, Form, Logprobs, Request, Thinking};
use crate::wire::json::fields::{Rejected, child, elements};

pub(super) fn decode(mut config: Object, request: &mut Request) -> Result<(), Rejected> {
    request.max_tokens = config.count("maxOutputTokens")?;
    request.stop = config.texts("stopSequences")?;
    for (name, field) in SAMPLING {
        *field(&mut request.sampling) = config.number(name)?;
    }
    request.candidates = count_u32(&mut config, "candidateCount")?;
    let top = count_u32(&mut config, "logprobs")?;
    if config.flag("responseLogprobs")? == Some(true) {
        request.logprobs = Some(Logprobs { top });
    }
    if let Some(thinking) = config.object("thinkingConfig")? {
        request.thinking = Some(decode_thinking(thinking)?);
    }
    request.form = decode_form(&mut config, &mut request.asked)?;
    decode_modalities(&mut config, &mut request.asked)?;
    for (name, feature) in [
        ("mediaResolution", Feature::ImageDetail),
        ("speechConfig", Feature::AudioOutput),
        ("imageConfig", Feature::ImageOutput),
    ] {
        let at = config.at(name);
        if config.value(name).is_some() {
            request.asked.push((feature, at));
        }
    }
    request.unknown.extend(config.left().map(|name| child(config.place(), name)));
    Ok(())
}

fn count_u32(config: &mut Object, name: &str) -> Result<Option<u32>, Rejected> {
    let at = config.at(name);
    let count = config.count(name)?;
    count.map(u32::try_from).transpose().map_err(|_| Rejected::new(at, "is too large"))
}

/// A budget of -1 leaves reasoning to the model, 0 turns it off.
fn decode_thinking(mut config: Object) -> Result<Thinking, Rejected> {
    let level = config.text("thinkingLevel")?.map(|level| level.to_ascii_uppercase());
    let effort = match level.as_deref() {
        None | Some("THINKING_LEVEL_UNSPECIFIED") => None,
        Some("MINIMAL") => Some(Effort::Minimal),
        Some("LOW") => Some(Effort::Low),
        Some("MEDIUM") => Some(Effort::Medium),
        Some("HIGH") => Some(Effort::High),
        Some(_) => {
            let why = "must be `MINIMAL`, `LOW`, `MEDIUM` or `HIGH`";
            return Err(config.must("thinkingLevel", why));
        }
    };
    let budget = config.whole("thinkingBudget")?;
    Ok(Thinking {
        effort: effort.or((budget == Some(0)).then_some(Effort::None)),
        budget: budget.and_then(|budget| u64::try_from(budget).ok()).filter(|budget| *budget > 0),
        shown: config.flag("includeThoughts")?,
    })
}

fn decode_form(
    config: &mut Object,
    asked: &mut Vec<(Feature, String)>,
) -> Result<Option<Form>, Rejected> {
    let openapi_schema = config.value("responseSchema").map(to_json_schema);
    let json_schema = config.value("responseJsonSchema");
    // The reference calls it an internal detail; some clients write it.
    let json_schema = json_schema.or(config.value("_responseJsonSchema"));
    let mut schema = json_schema.or(openapi_schema);
    let mut media_type = config.text("responseMimeType")?;
    if let Some(format) = config.value("responseFormat") {
        let place = config.at("responseFormat");
        // Vertex has a list here.
        for (format, at) in match format {
            Value::Array(list) => elements(list, &place),
            one => vec![(one, place)],
        } {
            let mut format = Object::new(format, at)?;
            if let Some(mut text) = format.object("text")? {
                media_type = text.text("mimeType")?.or(media_type);
                schema = text.value("schema").or(schema);
            }
            for (name, feature) in
                [("audio", Feature::AudioOutput), ("image", Feature::ImageOutput)]
            {
                if format.has(name) {
                    asked.push((feature, format.at(name)));
                }
            }
        }
    }
    if let Some(schema) = schema {
        return Ok(Some(Form::Schema { name: None, description: None, schema, strict: None }));
    }
    match media_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("application/json" | "application_json") => Ok(Some(Form::Json)),
        None | Some("" | "text/plain" | "text_plain" | "mime_type_unspecified") => Ok(None),
        Some(_) => {
            asked.push((Feature::ProviderFields, config.at("responseMimeType")));
            Ok(None)
        }
    }
}

fn decode_modalities(
    config: &mut Object,
    asked: &mut Vec<(Feature, String)>,
) -> Result<(), Rejected> {
    let at = config.at("responseModalities");
    for modality in config.texts("responseModalities")? {
        match &*modality.to_ascii_uppercase() {
            "IMAGE" => asked.push((Feature::ImageOutput, at.clone())),
            "AUDIO" => asked.push((Feature::AudioOutput, at.clone())),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so that a test fails, and takes literals"
)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::format::gemini::decode_request::decode_request;

    fn decoded(config: Value) -> Request {
        decode_request(json!({"contents": [], "generationConfig": config}).to_string().as_bytes())
            .unwrap()
    }

    #[test]
    fn thinking_is_set_by_level_or_by_budget() {
        let thinking = |config: Value| decoded(json!({"thinkingConfig": config})).thinking.unwrap();
        let expected = |effort, budget, shown| Thinking { effort, budget, shown };
        assert_eq!(thinking(json!({"thinkingBudget": -1})), expected(None, None, None));
        assert_eq!(
            thinking(json!({"thinkingBudget": 0})),
            expected(Some(Effort::None), None, None)
        );
        let shown = json!({"thinking_budget": "512", "include_thoughts": true});
        assert_eq!(thinking(shown), expected(None, Some(512), Some(true)));
        assert_eq!(
            thinking(json!({"thinkingLevel": "low"})),
            expected(Some(Effort::Low), None, None)
        );
    }

    #[test]
    fn a_schema_may_be_in_four_members() {
        let plain = json!({"type": "object"});
        for config in [
            json!({"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}),
            json!({"response_mime_type": "application/json", "response_json_schema": plain}),
            json!({"_responseJsonSchema": plain}),
            json!({"responseFormat": {"text": {"mimeType": "APPLICATION_JSON", "schema": plain}}}),
        ] {
            let Some(Form::Schema { schema, .. }) = decoded(config).form else {
                panic!("no schema")
            };
            assert_eq!(schema, plain);
        }
        assert_eq!(decoded(json!({"responseMimeType": "application/json"})).form, Some(Form::Json));
        assert_eq!(decoded(json!({"responseMimeType": "text/plain"})).form, None);
        assert_eq!(decoded(json!({"responseMimeType": "text/x.enum"})).asked.len(), 1);
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let request = decoded(json!({"temperature": 0.0, "topK": 40, "candidateCount": 2,
            "responseLogprobs": true, "logprobs": 5, "stopSequences": ["a"], "maxOutputTokens": 9}));
        assert_eq!(request.sampling.temperature.unwrap().to_string(), "0.0");
        assert_eq!(request.sampling.top_k.unwrap().to_string(), "40");
        assert_eq!((request.candidates, request.max_tokens), (Some(2), Some(9)));
        assert_eq!(request.logprobs, Some(Logprobs { top: Some(5) }));
    }
}
