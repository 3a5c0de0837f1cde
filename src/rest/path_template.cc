// SPDX-License-Identifier: Apache-2.0
#include "rest/path_template.h"

#include <algorithm>
#include <utility>

#include "rest/url.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

bool is_field_path(std::string_view text) {
    const auto good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '.';
    };
    return !text.empty() && std::ranges::all_of(text, good) && !text.starts_with('.') &&
           !text.ends_with('.') && text.find("..") == std::string_view::npos;
}

/// Reads one template from left to right.
class Parser {
  public:
    explicit Parser(std::string_view text) : whole_(text), rest_(text) {}

    Result<void> run() {
        if (!take('/')) {
            return wrong("it does not begin with '/'");
        }
        do {
            if (auto read = read_part(); !read) {
                return read;
            }
        } while (take('/'));
        if (take(':')) {
            verb = std::string(rest_);
            rest_ = {};
            if (verb.empty() || verb.find_first_of("/:{}*") != std::string::npos) {
                return wrong("its verb is no plain word");
            }
        }
        return rest_.empty() ? Result<void>() : wrong("something follows its end");
    }

    std::vector<PathTemplate::Segment> segments;
    std::vector<PathTemplate::Variable> variables;
    std::string verb;

  private:
    [[nodiscard]] std::unexpected<core::Error> wrong(std::string_view what) const {
        return fail(ErrorKind::InvalidArgument,
                    "path template " + std::string(whole_) + ": " + std::string(what));
    }

    bool take(char wanted) {
        if (!rest_.starts_with(wanted)) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    /// A segment, or a variable with its own segments.
    Result<void> read_part() {
        if (!take('{')) {
            return read_segment();
        }
        const std::size_t end = rest_.find_first_of("=}");
        const std::string_view field = rest_.substr(0, std::min(end, rest_.size()));
        if (end == std::string_view::npos || !is_field_path(field)) {
            return wrong("a variable has no field, or no end");
        }
        rest_.remove_prefix(end);
        PathTemplate::Variable variable{std::string(field), segments.size(), 0};
        if (take('=')) {
            do {
                if (rest_.starts_with('{')) {
                    return wrong("a variable is inside a variable");
                }
                if (auto read = read_segment(); !read) {
                    return read;
                }
            } while (take('/'));
        } else if (auto added = add({PathTemplate::Segment::Kind::One, ""}); !added) {
            return added;
        }
        if (!take('}')) {
            return wrong("a variable has no end");
        }
        variable.count = segments.size() - variable.first;
        variables.push_back(std::move(variable));
        return {};
    }

    Result<void> read_segment() {
        const std::size_t end = std::min(rest_.find_first_of("/:{}"), rest_.size());
        const std::string_view text = rest_.substr(0, end);
        rest_.remove_prefix(end);
        if (text == "*") {
            return add({PathTemplate::Segment::Kind::One, ""});
        }
        if (text == "**") {
            return add({PathTemplate::Segment::Kind::Many, ""});
        }
        if (text.empty() || text.find('*') != std::string_view::npos) {
            return wrong("a segment is empty, or mixes '*' with text");
        }
        return add({PathTemplate::Segment::Kind::Literal, std::string(text)});
    }

    Result<void> add(PathTemplate::Segment segment) {
        if (!segments.empty() && segments.back().kind == PathTemplate::Segment::Kind::Many) {
            return wrong("a segment follows \"**\"");
        }
        segments.push_back(std::move(segment));
        return {};
    }

    std::string_view whole_;
    std::string_view rest_;
};

}  // namespace

Result<RequestPath> RequestPath::parse(std::string_view path) {
    if (!path.starts_with('/')) {
        return fail(ErrorKind::InvalidArgument, "the path does not begin with '/'");
    }
    RequestPath parsed;
    path.remove_prefix(1);
    for (bool more = true; more;) {
        const std::size_t end = std::min(path.find('/'), path.size());
        more = end < path.size();
        const std::string_view raw = path.substr(0, end);
        path.remove_prefix(std::min(end + 1, path.size()));
        auto text = percent_decode(raw, Slash::Decode);
        if (!text) {
            return fail("the path's segment " + std::to_string(parsed.segments_.size() + 1),
                        text.error());
        }
        parsed.segments_.push_back({std::string(raw), std::move(*text)});
    }
    // An escaped colon belongs to the value, so the verb is cut from what the client wrote.
    const std::string& last = parsed.segments_.back().raw;
    if (const std::size_t colon = last.rfind(':'); colon != std::string::npos) {
        const std::string before = last.substr(0, colon);
        auto text = percent_decode(before, Slash::Decode);
        auto verb = percent_decode(last.substr(colon + 1), Slash::Decode);
        // Both halves of a UTF-8 text are UTF-8: a colon is no part of a longer sequence.
        if (text && verb) {
            parsed.last_ = {before, std::move(*text)};
            parsed.verb_ = std::move(*verb);
        }
    }
    return parsed;
}

Result<PathTemplate> PathTemplate::parse(std::string_view text) {
    Parser parser(text);
    if (auto parsed = parser.run(); !parsed) {
        return std::unexpected(parsed.error());
    }
    PathTemplate made;
    made.segments_ = std::move(parser.segments);
    made.variables_ = std::move(parser.variables);
    made.verb_ = std::move(parser.verb);
    return made;
}

std::string PathTemplate::shape() const {
    std::string shape;
    for (const Segment& segment : segments_) {
        shape += '/';
        switch (segment.kind) {
            case Segment::Kind::Literal:
                shape += segment.literal;
                break;
            case Segment::Kind::One:
                shape += '*';
                break;
            case Segment::Kind::Many:
                shape += "**";
                break;
        }
    }
    return verb_.empty() ? shape : shape + ':' + verb_;
}

bool PathTemplate::matches(const RequestPath& path) const {
    if (!verb_.empty() && path.verb_ != verb_) {
        return false;
    }
    const bool open = segments_.back().kind == Segment::Kind::Many;
    const std::size_t fixed = segments_.size() - (open ? 1 : 0);
    if (path.segments_.size() < fixed || (!open && path.segments_.size() > fixed)) {
        return false;
    }
    for (std::size_t i = 0; i < path.segments_.size(); ++i) {
        const bool cut = !verb_.empty() && i + 1 == path.segments_.size();
        const std::string& text = cut ? path.last_.text : path.segments_[i].text;
        if (text.empty()) {
            return false;
        }
        if (i < fixed && segments_[i].kind == Segment::Kind::Literal &&
            segments_[i].literal != text) {
            return false;
        }
    }
    return true;
}

std::vector<PathTemplate::Captured> PathTemplate::capture(const RequestPath& path) const {
    std::vector<Captured> all;
    for (const Variable& variable : variables_) {
        const bool open =
            segments_[variable.first + variable.count - 1].kind == Segment::Kind::Many;
        const std::size_t end = open ? path.segments_.size() : variable.first + variable.count;
        const bool several = open || variable.count > 1;
        Captured captured{variable.field_path, ""};
        for (std::size_t i = variable.first; i < end; ++i) {
            const bool cut = !verb_.empty() && i + 1 == path.segments_.size();
            const RequestPath::Segment& segment = cut ? path.last_ : path.segments_[i];
            captured.value += i == variable.first ? "" : "/";
            // It was decoded when the path was parsed, so this cannot fail.
            captured.value += several
                                  ? percent_decode(segment.raw, Slash::Keep).value_or(segment.text)
                                  : segment.text;
        }
        all.push_back(std::move(captured));
    }
    return all;
}

bool PathTemplate::more_specific(const PathTemplate& a, const PathTemplate& b) {
    const std::size_t both = std::min(a.segments_.size(), b.segments_.size());
    for (std::size_t i = 0; i < both; ++i) {
        if (a.segments_[i].kind != b.segments_[i].kind) {
            return a.segments_[i].kind < b.segments_[i].kind;
        }
    }
    if (a.segments_.size() != b.segments_.size()) {
        return a.segments_.size() > b.segments_.size();
    }
    return !a.verb_.empty() && b.verb_.empty();
}

}  // namespace remora::rest
