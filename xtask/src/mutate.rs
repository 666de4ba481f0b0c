//! Mutants: small changes of meaning, all of them in one program, each behind a switch.
//!
//! Owns which changes are made: the operators of `cargo mutants`, namely comparisons, logical
//! operators, negations, match guards, compound assignments, subtractions, and whole functions
//! that return at once. Nothing inside a macro's arguments is changed, no `+` and no `*`, and no
//! function that returns a type which is not listed here. Must not know how a program is built or
//! run.

use proc_macro2::Span;
use quote::{ToTokens, quote};
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Block, Expr, ExprBinary, Pat, ReturnType, Signature, Type, UnOp, parse_quote};

/// One change.
pub(crate) struct Mutant {
    pub(crate) number: u32,
    /// Where, and what.
    pub(crate) description: String,
}

/// Puts mutants into source files, one after the other.
#[derive(Default)]
pub(crate) struct Mutator {
    pub(crate) mutants: Vec<Mutant>,
    file: String,
    function: String,
}

impl Mutator {
    /// The text of a file with all its mutants in it.
    pub(crate) fn mutate(&mut self, name: &str, text: &str) -> Result<String, syn::Error> {
        let mut file = syn::parse_file(text)?;
        name.clone_into(&mut self.file);
        self.visit_file_mut(&mut file);
        Ok(file.into_token_stream().to_string())
    }

    /// Notes a mutant, and returns the condition under which it is on.
    fn switch(&mut self, span: Span, what: &str) -> Expr {
        let number = u32::try_from(self.mutants.len()).unwrap_or(u32::MAX) + 1;
        let start = span.start();
        let description = format!(
            "{}:{}:{}: {what} in {}",
            self.file,
            start.line,
            start.column + 1,
            self.function
        );
        self.mutants.push(Mutant {
            number,
            description,
        });
        parse_quote!(crate::mutant_is(#number))
    }

    fn comparison(&mut self, binary: &ExprBinary, others: &[BinOp]) -> Expr {
        let ExprBinary {
            left, op, right, ..
        } = binary;
        let mut result: Expr = parse_quote!(left #op right);
        for other in others {
            let what = format!("{} becomes {}", tokens(op), tokens(other));
            let on = self.switch(span_of(op), &what);
            result = parse_quote!(if #on { left #other right } else { #result });
        }
        parse_quote!({ let (left, right) = (&(#left), &(#right)); #result })
    }

    fn logical(&mut self, binary: &ExprBinary, other: BinOp) -> Expr {
        let ExprBinary {
            left, op, right, ..
        } = binary;
        let what = format!("{} becomes {}", tokens(op), tokens(&other));
        let on = self.switch(span_of(op), &what);
        parse_quote!({ let left: bool = #left; if #on { left #other #right } else { left #op #right } })
    }

    fn arithmetic(&mut self, binary: &ExprBinary, other: BinOp) -> Expr {
        let ExprBinary {
            left, op, right, ..
        } = binary;
        let what = format!("{} becomes {}", tokens(op), tokens(&other));
        let on = self.switch(span_of(op), &what);
        parse_quote!(if #on { #left #other #right } else { #left #op #right })
    }

    /// The mutants of a whole function: it returns one of these values at once.
    fn function(&mut self, signature: &mut Signature, block: &mut Block) {
        signature.constness = None;
        let span = signature.ident.span();
        for value in early_returns(&signature.output) {
            let shown = value.as_ref().map_or_else(String::new, tokens);
            let on = self.switch(span, &format!("returns {shown} at once"));
            block
                .stmts
                .insert(0, parse_quote!(if #on { return #value; }));
        }
    }
}

/// What a function of this type may return without doing anything.
fn early_returns(output: &ReturnType) -> Vec<Option<Expr>> {
    let ReturnType::Type(_, output) = output else {
        return vec![None];
    };
    let name = tokens(&**output).replace(' ', "");
    let values: &[&str] = match name.as_str() {
        "bool" => &["true", "false"],
        "u32" | "u64" | "usize" => &["0", "1"],
        "LogIndex" => &["LogIndex::ZERO"],
        "Next" => &["Next::Stay"],
        "Due" => &["Due::Nothing"],
        "Result<Next,StepError>" | "Result<Next,StorageError>" => &["Ok(Next::Stay)"],
        "Result<bool,StorageError>" => &["Ok(true)", "Ok(false)"],
        _ if name.starts_with("Option<") => &["None"],
        _ if name.starts_with("Vec<") => &["Vec::new()"],
        _ if name.starts_with("Result<(),") => &["Ok(())"],
        _ if name.starts_with("Result<Option<") => &["Ok(None)"],
        _ => &[],
    };
    let parsed = values.iter().filter_map(|value| syn::parse_str(value).ok());
    parsed.map(Some).collect()
}

impl VisitMut for Mutator {
    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        // What is derived elsewhere, and what is only for people to read.
        let is_plain = item.trait_.as_ref().is_some_and(|(_, path, _)| {
            let name = tokens(path);
            [
                "Display",
                "Debug",
                "Hash",
                "PartialEq",
                "Eq",
                "Clone",
                "Default",
            ]
            .iter()
            .any(|plain| name.ends_with(plain))
        });
        if !is_plain {
            visit_mut::visit_item_impl_mut(self, item);
        }
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        self.function = item.sig.ident.to_string();
        visit_mut::visit_impl_item_fn_mut(self, item);
        self.function(&mut item.sig, &mut item.block);
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        self.function = item.sig.ident.to_string();
        visit_mut::visit_item_fn_mut(self, item);
        self.function(&mut item.sig, &mut item.block);
    }

    /// Constants are computed by the compiler, which knows no switch.
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        visit_mut::visit_arm_mut(self, arm);
        if let Some((token, guard)) = &mut arm.guard {
            let always = self.switch(token.span, "the guard is always true");
            let never = self.switch(token.span, "the guard is always false");
            **guard = parse_quote!(#always || (!#never && (#guard)));
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        if let Expr::Unary(unary) = expression {
            if let UnOp::Not(token) = unary.op {
                let on = self.switch(token.span, "! is deleted");
                let inner = &unary.expr;
                *expression = parse_quote!((if #on { #inner } else { !#inner }));
            }
            return;
        }
        let Expr::Binary(binary) = expression else {
            return;
        };
        let op = |text: &str| syn::parse_str::<BinOp>(text).ok();
        let others = |texts: &[&str]| texts.iter().filter_map(|text| op(text)).collect::<Vec<_>>();
        let mutated = match tokens(&binary.op).as_str() {
            "<" => self.comparison(binary, &others(&["==", ">", "<="])),
            ">" => self.comparison(binary, &others(&["==", "<", ">="])),
            "<=" => self.comparison(binary, &others(&[">"])),
            ">=" => self.comparison(binary, &others(&["<"])),
            "==" => self.comparison(binary, &others(&["!="])),
            "!=" => self.comparison(binary, &others(&["=="])),
            text @ ("&&" | "||" | "-" | "+=" | "-=") => {
                let (other, is_logical) = match text {
                    "&&" => ("||", true),
                    "||" => ("&&", true),
                    "-" => ("+", false),
                    "+=" => ("-=", false),
                    _ => ("+=", false),
                };
                let Some(other) = op(other) else { return };
                if is_logical {
                    self.logical(binary, other)
                } else {
                    self.arithmetic(binary, other)
                }
            }
            _ => return,
        };
        *expression = parse_quote!((#mutated));
    }
}

fn tokens(what: &impl ToTokens) -> String {
    quote!(#what).to_string()
}

fn span_of(op: &BinOp) -> Span {
    syn::spanned::Spanned::span(op)
}
