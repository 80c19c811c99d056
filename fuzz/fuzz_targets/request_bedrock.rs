#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keymux_fuzz::run("request_bedrock", data));
