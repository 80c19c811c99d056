#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keymux_fuzz::run("stream_openai_chat", data));
