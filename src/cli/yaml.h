// SPDX-License-Identifier: Apache-2.0
// YAML as a tree that remembers where each word stood, and the opposite.
//
// Scalars are kept as they were written: whether 0123 is a number is for the reader's field to say,
// not for YAML's rules of guessing. A text is refused, with its place, when it is larger or deeper
// than any site's, when aliases make it so, when a key occurs twice in a map, and when it has
// control characters or is not UTF-8. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace remora::cli {

inline constexpr std::size_t kMostYamlBytes = std::size_t{1} << 20U;
/// Maps, lists and scalars of all documents, each alias counted as what it stands for.
inline constexpr std::size_t kMostYamlNodes = 50'000;
inline constexpr int kDeepestYaml = 32;

/// Both count from 1.
struct Place {
    int line = 1;
    int column = 1;
};

struct YamlEntry;

struct YamlNode {
    enum class Type : std::uint8_t {
        Null,    ///< Nothing, ~ or the word null without quotes, which `text` keeps.
        Scalar,  ///< One word or string.
        List,
        Map,
    };
    Type type = Type::Null;
    Place place;
    std::string text;
    bool quoted = false;
    int height = 1;               ///< 1 plus that of the highest one within.
    std::vector<YamlNode> items;  ///< A list's.
    std::vector<YamlEntry> entries;

    /// A map's value; null when it has no such key.
    [[nodiscard]] const YamlNode* find(std::string_view key) const;
};

struct YamlEntry {
    std::string key;
    Place place;
    YamlNode value;
};

/// "site.yaml:3:7".
std::string place_text(std::string_view source, Place place);
/// Throws Refused: `sentence` with the place in front.
[[noreturn]] void refuse_at(std::string_view source, Place place, const std::string& sentence);

/// The documents of a text, without the empty ones. `source` is what errors call it.
std::vector<YamlNode> read_yaml(std::string_view source, const std::string& text);

/// The lines of a value, each behind `indent` spaces. Strings that YAML could take for something
/// else are in quotes.
std::string write_yaml(const nlohmann::ordered_json& value, int indent = 0);

}  // namespace remora::cli
