//! Values from the command line.

use proptest::prelude::*;

use super::{Arguments, Given};
use crate::parse;

proptest! {
    #[test]
    fn no_argument_makes_it_panic(pair in any::<String>(), text in any::<String>()) {
        let (document, _) = parse("plan.yaml", "apiVersion: jm/v1\nname: x\ninputs: { a: { type: object }, s: { type: secret } }\nsteps: [{ id: a, uses: test.look }]\n");
        drop(Arguments::parse(&document, [Given::Pair(&pair), Given::Pair(&format!("a={pair}")), Given::File { name: "f", text: &text }]));
        let secret = Arguments::parse(&document, [Given::Pair(&format!("s={pair}"))]);
        if let Err(errors) = secret {
            let shown = crate::testing::show(errors.errors());
            prop_assert!(pair.len() < 12 || !shown.contains(&pair));
        }
    }
}
