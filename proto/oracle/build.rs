//! Generates the schema's types, with a parser and a generator in Rust: no `protoc` is needed.

fn main() {
    println!("cargo::rerun-if-changed=../proto/eraftpb.proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("../proto")
        .input("../proto/eraftpb.proto")
        .customize(
            protobuf_codegen::Customize::default()
                .tokio_bytes(true)
                .lite_runtime(true),
        )
        .cargo_out_dir("eraftpb")
        .run_from_script();
}
