// SPDX-License-Identifier: Apache-2.0
#include "cli/yaml.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "cli/failure.h"

namespace remora::cli {

namespace {

using Type = YamlNode::Type;

Place place_of(const YAML::Mark& mark) {
    return {std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1};
}

YamlNode node_at(const YAML::Mark& mark, Type type) {
    YamlNode node;
    node.type = type;
    node.place = place_of(mark);
    return node;
}

std::size_t count_nodes(const YamlNode& node) {
    std::size_t count = 1;
    for (const YamlNode& item : node.items) {
        count += count_nodes(item);
    }
    for (const YamlEntry& entry : node.entries) {
        count += count_nodes(entry.value);
    }
    return count;
}

/// Takes yaml-cpp's events and builds the documents.
class Builder : public YAML::EventHandler {
  public:
    Builder(std::string_view source, const std::string& text) : source_(source), text_(text) {}

    std::vector<YamlNode> documents;

    void OnDocumentStart(const YAML::Mark& /*mark*/) override { anchors_.clear(); }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        YamlNode node = node_at(mark, Type::Null);
        if (mark.pos >= 0 && std::cmp_less(mark.pos, text_.size()) &&
            text_.compare(static_cast<std::size_t>(mark.pos), 4, "null") == 0) {
            node.text = "null";
        }
        add(std::move(node), anchor);
    }

    void OnScalar(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  const std::string& value) override {
        const bool text_tag = tag == "tag:yaml.org,2002:str";
        if (!text_tag && tag != "?" && tag != "!" && !tag.empty()) {
            refuse(mark, "the tag " + tag + " is not known here: leave it out");
        }
        YamlNode node = node_at(mark, Type::Scalar);
        node.text = value;
        node.quoted = text_tag || tag == "!";
        add(std::move(node), anchor);
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) {
            refuse(mark, "the alias stands within what it stands for");
        }
        YamlNode copy = found->second;
        copy.place = place_of(mark);
        count(copy.place, count_nodes(copy));
        if (static_cast<int>(open_.size()) + copy.height > kDeepestYaml) {
            refuse_depth(mark);
        }
        add(std::move(copy), 0);
    }

    void OnSequenceStart(const YAML::Mark& mark,
                         const std::string& tag,
                         YAML::anchor_t anchor,
                         YAML::EmitterStyle::value /*style*/) override {
        open(mark, tag, anchor, Type::List);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark,
                    const std::string& tag,
                    YAML::anchor_t anchor,
                    YAML::EmitterStyle::value /*style*/) override {
        open(mark, tag, anchor, Type::Map);
    }
    void OnMapEnd() override { close(); }

  private:
    /// A map or list that has not ended yet.
    struct Open {
        YamlNode node;
        YAML::anchor_t anchor = 0;
        bool has_key = false;
        std::string key;
        Place key_place;
    };

    [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& sentence) const {
        refuse_at(source_, place_of(mark), sentence);
    }
    [[noreturn]] void refuse_depth(const YAML::Mark& mark) const {
        refuse(mark, "maps and lists are more than " + std::to_string(kDeepestYaml) + " deep");
    }

    void count(Place place, std::size_t more) {
        nodes_ += more;
        if (nodes_ > kMostYamlNodes) {
            refuse_at(source_, place,
                      "there are more than " + std::to_string(kMostYamlNodes) +
                          " values, those that aliases stand for included");
        }
    }

    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Type type) {
        if (!tag.empty() && tag != "?" && tag != "!") {
            refuse(mark, "the tag " + tag + " is not known here: leave it out");
        }
        count(place_of(mark), 1);
        if (static_cast<int>(open_.size()) + 1 > kDeepestYaml) {
            refuse_depth(mark);
        }
        Open next;
        next.node = node_at(mark, type);
        next.anchor = anchor;
        open_.push_back(std::move(next));
    }

    void close() {
        Open done = std::move(open_.back());
        open_.pop_back();
        add(std::move(done.node), done.anchor);
    }

    void add(YamlNode node, YAML::anchor_t anchor) {
        if (node.type == Type::Null || node.type == Type::Scalar) {
            count(node.place, 1);
        }
        if (anchor != 0) {
            anchors_[anchor] = node;
        }
        if (open_.empty()) {
            if (node.type != Type::Null) {
                documents.push_back(std::move(node));
            }
            return;
        }
        Open& parent = open_.back();
        parent.node.height = std::max(parent.node.height, node.height + 1);
        if (parent.node.type == Type::List) {
            parent.node.items.push_back(std::move(node));
        } else if (parent.has_key) {
            parent.has_key = false;
            parent.node.entries.push_back(
                {std::move(parent.key), parent.key_place, std::move(node)});
        } else {
            take_key(parent, node);
        }
    }

    void take_key(Open& map, const YamlNode& key) {
        if (key.type != Type::Scalar) {
            refuse_at(source_, key.place, "this cannot be a key: a key is one word");
        }
        for (const YamlEntry& entry : map.node.entries) {
            if (entry.key == key.text) {
                refuse_at(source_, key.place,
                          "'" + key.text + "' is here a second time; the first is at " +
                              place_text(source_, entry.place));
            }
        }
        map.has_key = true;
        map.key = key.text;
        map.key_place = key.place;
    }

    std::string source_;
    const std::string& text_;
    std::size_t nodes_ = 0;
    std::vector<Open> open_;
    std::map<YAML::anchor_t, YamlNode> anchors_;
};

/// How many bytes the UTF-8 character at the start has (RFC 3629 section 4); 0: it is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    const std::size_t length = first < 0x80                     ? 1
                               : first >= 0xc2 && first <= 0xdf ? 2
                               : first >= 0xe0 && first <= 0xef ? 3
                               : first >= 0xf0 && first <= 0xf4 ? 4
                                                                : 0;
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            return 0;
        }
    }
    const bool bad = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
                     (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return bad ? 0 : length;
}

/// yaml-cpp takes some control characters for the end of the text.
void check_characters(std::string_view source, std::string_view text) {
    Place place;
    while (!text.empty()) {
        const auto first = static_cast<unsigned char>(text.front());
        const std::size_t length = utf8_length(text);
        if (length == 0) {
            refuse_at(source, place, "this is not UTF-8 text");
        }
        if (first == 0x7f || (first < 0x20 && first != '\t' && first != '\n' && first != '\r')) {
            refuse_at(source, place,
                      "there is a control character: in a string, write it as an escape");
        }
        place = first == '\n' ? Place{place.line + 1, 1} : Place{place.line, place.column + 1};
        text.remove_prefix(length);
    }
}

/// Whether YAML takes the string for itself without quotes.
bool is_plain(const std::string& text) {
    constexpr std::array kWords{"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    std::string lower = text;
    std::ranges::transform(lower, lower.begin(), [](unsigned char letter) {
        return static_cast<char>(std::tolower(letter));
    });
    return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
           std::ranges::all_of(text,
                               [](unsigned char letter) {
                                   return std::isalnum(letter) != 0 || letter == '_' ||
                                          letter == '.' || letter == '/' || letter == '-';
                               }) &&
           std::ranges::find(kWords, lower) == kWords.end();
}

std::string scalar_text(const nlohmann::ordered_json& value) {
    if (value.is_string() && is_plain(value.get<std::string>())) {
        return value.get<std::string>();
    }
    // A JSON string is a YAML string in double quotes.
    return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
    for (const YamlEntry& entry : entries) {
        if (entry.key == key) {
            return &entry.value;
        }
    }
    return nullptr;
}

std::string place_text(std::string_view source, Place place) {
    return std::string(source) + ":" + std::to_string(place.line) + ":" +
           std::to_string(place.column);
}

void refuse_at(std::string_view source, Place place, const std::string& sentence) {
    refuse_argument(place_text(source, place) + ": " + sentence);
}

std::vector<YamlNode> read_yaml(std::string_view source, const std::string& text) {
    if (text.size() > kMostYamlBytes) {
        refuse_argument(std::string(source) + " is larger than 1 MiB, which no site's file is");
    }
    check_characters(source, text);
    // Behind a byte order mark, so that yaml-cpp's places are ours.
    const std::string body = text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;
    Builder builder(source, body);
    try {
        std::istringstream in(body);
        YAML::Parser parser(in);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        refuse_at(source, place_of(error.mark), "this is not YAML: " + error.msg);
    }
    return std::move(builder.documents);
}

std::string write_yaml(const nlohmann::ordered_json& value, int indent) {
    const std::string margin(static_cast<std::size_t>(indent), ' ');
    std::string text;
    if (value.is_array()) {
        for (const auto& item : value) {
            // The first line of the item moves up behind the dash.
            std::string lines = write_yaml(item, indent + 2);
            lines[static_cast<std::size_t>(indent)] = '-';
            text += lines;
        }
        return value.empty() ? margin + "[]\n" : text;
    }
    if (!value.is_object()) {
        return margin + scalar_text(value) + "\n";
    }
    for (const auto& [key, inner] : value.items()) {
        text += margin + scalar_text(key) + ":";
        const bool nested = inner.is_structured() && !inner.empty();
        text += nested ? "\n" + write_yaml(inner, indent + 2)
                       : " " + (inner.is_structured() ? inner.dump() : scalar_text(inner)) + "\n";
    }
    return value.empty() ? margin + "{}\n" : text;
}

}  // namespace remora::cli
