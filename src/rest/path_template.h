// SPDX-License-Identifier: Apache-2.0
// PathTemplate: the path of a google.api.http rule, e.g. "/v1/{name=volumes/*}:stats", and the
// paths that it fits (google/api/http.proto, "Path template syntax"). Values; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace remora::rest {

/// A request's path, cut at its slashes and decoded.
class RequestPath {
  public:
    /// `path` begins with '/' and has no query. Errors: InvalidArgument for bad escapes.
    static core::Result<RequestPath> parse(std::string_view path);

    /// What follows the last ':' of the last segment, if anything does.
    [[nodiscard]] const std::optional<std::string>& verb() const { return verb_; }

  private:
    friend class PathTemplate;
    struct Segment {
        std::string raw;
        std::string text;
    };
    std::vector<Segment> segments_;
    /// The last segment without its verb; only when there is one.
    Segment last_;
    std::optional<std::string> verb_;
};

class PathTemplate {
  public:
    struct Segment {
        enum class Kind {
            Literal,  ///< This very text.
            One,      ///< "*": one segment, not empty.
            Many,     ///< "**": all that are left, none as well; always the last.
        };
        Kind kind = Kind::Literal;
        std::string literal;
    };
    /// A field that takes its value from segments [first, first + count).
    struct Variable {
        std::string field_path;
        std::size_t first = 0;
        std::size_t count = 0;
    };
    struct Captured {
        std::string field_path;
        std::string value;
    };

    /// Errors: InvalidArgument that says what is wrong with the template.
    static core::Result<PathTemplate> parse(std::string_view text);

    [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
    [[nodiscard]] const std::vector<Variable>& variables() const { return variables_; }
    /// Empty for none.
    [[nodiscard]] const std::string& verb() const { return verb_; }
    /// The template without its fields: two of one shape fit the same paths.
    [[nodiscard]] std::string shape() const;

    [[nodiscard]] bool matches(const RequestPath& path) const;
    /// The variables' values. The path matches.
    [[nodiscard]] std::vector<Captured> capture(const RequestPath& path) const;

    /// Which of two that fit one path has it: a literal before "*" before "**" at the first segment
    /// where they differ, then the longer one, then the one with a verb.
    static bool more_specific(const PathTemplate& a, const PathTemplate& b);

  private:
    std::vector<Segment> segments_;
    std::vector<Variable> variables_;
    std::string verb_;
};

}  // namespace remora::rest
