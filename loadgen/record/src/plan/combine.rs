//! The plan of several generators together.

use serde_json::{Map, Value};

use super::definition::Plan;
use super::stages::{Stage, Stages};
use crate::units::{Rate, Time};

/// How a field of several plans becomes one.
enum Rule {
    /// Numbers and rates are shares, and add up.
    Add,
    /// Lists follow each other.
    Append,
    /// The longest time.
    Longest,
    /// The first plan's value.
    First,
    /// `mixed` where the plans differ.
    Mixed,
}

/// The fields in which the plans of generators that load one server together may differ. All
/// others must be equal.
const RULES: [(&str, Rule); 14] = [
    ("connections", Rule::Add),
    ("idle", Rule::Add),
    ("threads", Rule::Add),
    ("rate", Rule::Add),
    ("stages", Rule::Add),
    ("connect_rate", Rule::Add),
    ("source", Rule::Append),
    ("cpus", Rule::Append),
    ("warmup", Rule::Longest),
    ("duration", Rule::Longest),
    ("connect_timeout", Rule::Longest),
    ("seed", Rule::First),
    // How the generators wait is in their records; a plan only has `spin` or not.
    ("spin", Rule::First),
    ("engine", Rule::Mixed),
];

/// A field in which plans differ that cannot be combined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// Its value in the first plan, as JSON.
    pub first: String,
    /// Number of the other plan, from 0.
    pub index: usize,
    /// Its value there, as JSON.
    pub other: String,
}

/// Combines the plans of generators that load one server at the same time.
pub fn combine(plans: &[&Plan]) -> Result<Plan, Difference> {
    let objects: Vec<_> = plans.iter().map(|plan| object(plan)).collect();
    let mut combined = Map::new();
    for field in fields(&objects) {
        let values: Vec<_> = objects
            .iter()
            .map(|object| object.get(field).unwrap_or(&Value::Null))
            .collect();
        let rule = RULES.iter().find(|(name, _)| name == field);
        let value = match rule {
            Some((_, rule)) => rule.apply(&values),
            None => None,
        };
        let value = match value {
            Some(value) => value,
            None => same(field, &values)?,
        };
        combined.insert(field.clone(), value);
    }
    Ok(serde_json::from_value(Value::Object(combined)).expect("values of plans make a plan"))
}

fn object(plan: &Plan) -> Map<String, Value> {
    match serde_json::to_value(plan) {
        Ok(Value::Object(object)) => object,
        other => unreachable!("a plan is an object: {other:?}"),
    }
}

/// The fields of all objects, each once.
fn fields(objects: &[Map<String, Value>]) -> Vec<&String> {
    let mut fields: Vec<_> = objects.iter().flat_map(Map::keys).collect();
    fields.sort();
    fields.dedup();
    fields
}

fn same(field: &str, values: &[&Value]) -> Result<Value, Difference> {
    match values.iter().position(|value| *value != values[0]) {
        None => Ok(values[0].clone()),
        Some(index) => Err(Difference {
            field: field.into(),
            first: values[0].to_string(),
            index,
            other: values[index].to_string(),
        }),
    }
}

impl Rule {
    /// The combined value; `None` where there is none, and the values have to be equal.
    fn apply(&self, values: &[&Value]) -> Option<Value> {
        match self {
            Rule::Add => add(values),
            Rule::Append => {
                let lists = values.iter().filter_map(|value| value.as_array());
                Some(lists.flatten().cloned().collect::<Vec<_>>().into())
            }
            Rule::Longest => {
                let times = values.iter().filter_map(read::<Time>);
                times.max().map(show)
            }
            Rule::First => Some(values[0].clone()),
            Rule::Mixed => match values.iter().all(|value| *value == values[0]) {
                true => Some(values[0].clone()),
                false => Some("mixed".into()),
            },
        }
    }
}

/// The sum of counts, rates or stages; `None` if they are of different kinds.
fn add(values: &[&Value]) -> Option<Value> {
    if let Some(counts) = all(values, |value| value.as_u64()) {
        return Some(counts.into_iter().fold(0, u64::saturating_add).into());
    }
    if let Some(rates) = all(values, read::<Rate>) {
        return Some(show(sum(rates)));
    }
    let lists: Vec<Stages> = all(values, read)?;
    let stages = lists[0].list().iter().enumerate();
    let sums = stages.map(|(index, first)| {
        let parallel: Vec<&Stage> = all(&lists, |stages| stages.list().get(index))?;
        let as_long = parallel.iter().all(|stage| stage.duration == first.duration);
        as_long.then(|| Stage {
            duration: first.duration,
            from: sum(parallel.iter().map(|stage| stage.from)),
            to: sum(parallel.iter().map(|stage| stage.to)),
        })
    });
    let as_many = lists
        .iter()
        .all(|stages| stages.list().len() == lists[0].list().len());
    let sums = sums.collect::<Option<Vec<_>>>().filter(|_| as_many)?;
    Stages::new(sums).map(show)
}

/// A sum of rates that no file can make infinite.
fn sum(rates: impl IntoIterator<Item = Rate>) -> Rate {
    let sum: f64 = rates.into_iter().map(Rate::per_second).sum();
    Rate::new(sum.min(f64::MAX)).expect("rates are above 0")
}

fn all<'a, T, U>(values: &'a [T], of: impl Fn(&'a T) -> Option<U>) -> Option<Vec<U>> {
    values.iter().map(of).collect()
}

fn read<T: std::str::FromStr>(value: &&Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn show(value: impl std::fmt::Display) -> Value {
    value.to_string().into()
}
