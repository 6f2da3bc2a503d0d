//! The weights of the evidence: the parameters file, and what a user puts in its place.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::error::Error;
use crate::views::View;

/// The parameters file.
const MODEL: &str = include_str!("model.toml");

/// Where the rows stand in the SQL of the view `weights`.
const PLACE: &str = "  -- The parameters file stands here.";

/// The furthest a weight may be from zero: beyond, one piece of evidence outweighs any other, and
/// exponentials come near the limits of a double.
const WEIGHT_MAX: f64 = 50.0;

/// What each piece of evidence adds to a candidate's score, in natural logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    weights: Vec<Weight>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Weight {
    name: String,
    kind: String,
    weight: f64,
    sentence: String,
    why: String,
}

#[derive(Deserialize)]
struct Model {
    weight: Vec<Weight>,
}

impl Weights {
    /// The weights of the parameters file, with some of them replaced by name.
    ///
    /// # Errors
    /// [`Error::Weight`] for a name that is none of them, or for a weight that is no number between -50
    /// and 50.
    pub fn with(replaced: &BTreeMap<String, f64>) -> Result<Self, Error> {
        let wrong = |error: toml::de::Error| Error::Header { file: "model.toml", reason: error.to_string() };
        let Model { weight: mut weights } = toml::from_str(MODEL).map_err(wrong)?;
        for (name, value) in replaced {
            let refuse = |reason| Error::Weight { name: name.clone(), reason };
            let Some(weight) = weights.iter_mut().find(|weight| weight.name == *name) else {
                let similarity = |weight: &&Weight| strsim::jaro_winkler(name, &weight.name);
                let nearest = weights.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
                let nearest = nearest.map_or("", |weight| &weight.name);
                return Err(refuse(format!("there is no such evidence; the nearest that is known is {nearest:?}")));
            };
            if !value.is_finite() || value.abs() > WEIGHT_MAX {
                return Err(refuse(format!("{value} is not between -{WEIGHT_MAX} and {WEIGHT_MAX}")));
            }
            weight.weight = *value;
        }
        Ok(Self { weights })
    }

    /// What a piece of evidence adds to a score, and what it says.
    pub(crate) fn get(&self, name: &str) -> Option<(f64, &str)> {
        let weight = self.weights.iter().find(|weight| weight.name == name)?;
        Some((weight.weight, &weight.sentence))
    }

    /// The SQL of a view; of `weights`, with the weights in it.
    pub(crate) fn filled_in(&self, view: &View) -> String {
        if view.name != "weights" {
            return view.sql.to_owned();
        }
        let quoted = |text: &str| text.replace('\'', "''");
        let mut rows = String::new();
        for Weight { name, kind, weight, sentence, why } in &self.weights {
            let comma = if rows.is_empty() { "" } else { ",\n" };
            let (sentence, why) = (quoted(sentence), quoted(why));
            // Writing to a string cannot fail. The exponent makes every figure a double.
            let _ = write!(rows, "{comma}  ('{name}', '{kind}', {weight:e}, '{sentence}', '{why}')");
        }
        view.sql.replace(PLACE, &rows)
    }
}
