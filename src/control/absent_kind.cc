// SPDX-License-Identifier: Apache-2.0
#include "control/absent_kind.h"

#include "control/validate.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Message;

namespace {

/// What every call that names one object is checked for.
Result<void> check_call(const Message& request, const std::string& name) {
    if (auto complete = check_required(request); !complete) {
        return complete;
    }
    return check_name("name", name);
}

AbsentKind::Failure unimplemented(const AbsentKind& kind) {
    return fail(ErrorKind::Unimplemented, "this build of Remora has no " + std::string(kind.noun) +
                                              "s; " + std::string(kind.instead));
}

}  // namespace

AbsentKind::Failure AbsentKind::create(const Message& request,
                                       std::string_view id_field,
                                       const std::string& id,
                                       core::Prng& prng) const {
    if (auto complete = check_required(request); !complete) {
        return std::unexpected(complete.error());
    }
    if (const auto chosen = choose_id(id_field, id, prng); !chosen) {
        return std::unexpected(chosen.error());
    }
    return unimplemented(*this);
}

AbsentKind::Failure AbsentKind::refuse(const Message& request, const std::string& name) const {
    if (auto valid = check_call(request, name); !valid) {
        return std::unexpected(valid.error());
    }
    return unimplemented(*this);
}

AbsentKind::Failure AbsentKind::get(const Message& request, const std::string& name) const {
    if (auto valid = check_call(request, name); !valid) {
        return std::unexpected(valid.error());
    }
    return fail(ErrorKind::NotFound,
                "there is no " + std::string(noun) + " named " + canonical_name(collection, name));
}

Result<void> AbsentKind::remove(const Message& request,
                                const std::string& name,
                                bool allow_missing) const {
    auto missing = get(request, name);
    if (allow_missing && missing.error().kind == ErrorKind::NotFound) {
        return {};
    }
    return missing;
}

Result<void> AbsentKind::check_list(const Message& request,
                                    std::int32_t page_size,
                                    const std::string& page_token) const {
    // The parent of these lists means nothing; clients send "todo" or the collection's word.
    if (auto complete = check_required(request); !complete) {
        return complete;
    }
    if (const auto page = read_page(list, page_size, page_token); !page) {
        return std::unexpected(page.error());
    }
    return {};
}

}  // namespace remora::control
