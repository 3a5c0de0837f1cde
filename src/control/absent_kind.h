// SPDX-License-Identifier: Apache-2.0
// AbsentKind: what the calls of a kind of resource answer that OPI's API has and this build has
// not. None of it ever exists: making, changing and counting are refused with what to do instead,
// and asking is answered as it would be if none had been made. Values; any thread.
//
// Whoever builds such a kind replaces the part of the control plane that asks this class.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>

#include "control/names.h"
#include "core/prng.h"
#include "core/result.h"

namespace remora::control {

struct AbsentKind {
    using Failure = std::unexpected<core::Error>;

    std::string_view noun;
    std::string_view list;  ///< Names the listing in page tokens.
    Collection collection;
    std::string_view instead;  ///< The end of the sentence: what to do without it.

    /// Errors: InvalidArgument for a missing field or a malformed id, else Unimplemented.
    [[nodiscard]] Failure create(const google::protobuf::Message& request,
                                 std::string_view id_field,
                                 const std::string& id,
                                 core::Prng& prng) const;
    /// Update and Stats of `name`. Errors: InvalidArgument, else Unimplemented.
    [[nodiscard]] Failure refuse(const google::protobuf::Message& request,
                                 const std::string& name) const;
    /// Errors: InvalidArgument, else NotFound.
    [[nodiscard]] Failure get(const google::protobuf::Message& request,
                              const std::string& name) const;
    /// Errors: as get(), but that a missing one may be allowed.
    [[nodiscard]] core::Result<void> remove(const google::protobuf::Message& request,
                                            const std::string& name,
                                            bool allow_missing) const;
    /// Success is the empty list. Errors: as read_page().
    [[nodiscard]] core::Result<void> check_list(const google::protobuf::Message& request,
                                                std::int32_t page_size,
                                                const std::string& page_token) const;
};

}  // namespace remora::control
