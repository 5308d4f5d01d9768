//! Maps without a key twice, and fields that may be `null`, which Go's encoder writes for what is empty.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

/// A map in which every key stands once: of two, one reader would take the first and another the last.
struct OnceEach<V>(BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for OnceEach<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnceEachVisitor(PhantomData))
    }
}

struct OnceEachVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for OnceEachVisitor<V> {
    type Value = OnceEach<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with each key once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, V>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands there twice")));
            }
            map.insert(key, value);
        }
        Ok(OnceEach(map))
    }
}

/// Reads a map, or `null` as an empty one.
pub(super) fn map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::<OnceEach<String>>::deserialize(deserializer)?.map(|map| map.0).unwrap_or_default())
}

/// Reads the keys of a map whose values say nothing.
pub(super) fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<OnceEach<IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.map(|map| map.0.into_keys().collect()).unwrap_or_default())
}

/// Reads a value, or `null` as the default.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
