// SPDX-License-Identifier: Apache-2.0
// The kinds of things a daemon holds, one descriptor each: what the kind is called, the flags that
// make one, and the columns that show one. The verbs (cli/resources.h) are the same code for all;
// a new kind is a new row. Constant data.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "cli/client.h"
#include "core/host_function.h"

namespace opi_api::storage::v1 {
class QosLimit;
}

namespace remora::cli {

enum class FlagType {
    Text,      ///< Any words; the builder reads them.
    Number,    ///< A whole number, checked while the command line is read.
    Function,  ///< The host's function, 3 or 3.2, checked likewise.
    Switch,    ///< Stands alone.
};

/// A flag of `create`.
struct Flag {
    std::string_view name;   ///< With its dashes.
    std::string_view value;  ///< What help calls the value: "SIZE".
    std::string_view help;
    FlagType type = FlagType::Text;
    bool required = false;
    std::string_view fallback = {};  ///< Used when the flag is not given.
    std::string_view choices = {};   ///< "a|b|c" when only these will do.
};

/// The flags of one command line, by name. Readers throw Refused for a value that cannot work.
class Values {
  public:
    /// Where the parser writes a flag's value, set to `fallback` at first.
    std::string& slot(std::string_view flag, std::string_view fallback);

    /// The value, or "" when the flag was not given and has no fallback.
    [[nodiscard]] const std::string& text(std::string_view flag) const;
    [[nodiscard]] bool given(std::string_view flag) const { return !text(flag).empty(); }
    [[nodiscard]] std::uint64_t size(std::string_view flag) const;
    /// 0 when absent.
    [[nodiscard]] std::int32_t number(std::string_view flag) const;
    /// Of one that was given.
    [[nodiscard]] core::HostFunction function(std::string_view flag) const;

  private:
    std::map<std::string, std::string, std::less<>> values_;
};

/// A column of the kind's table. The message is of the kind's own type.
struct Column {
    std::string_view title;
    std::string (*text)(const Message&);
};

/// How the counters of a kind are asked for.
enum class Counters {
    None,
    Volume,  ///< A volume: remora.v1's counters in 64 bits.
    Opi,     ///< The kind's own call, in 32 bits.
};

struct Kind {
    std::string_view name;                ///< "remote-controller"
    std::string_view plural;              ///< Accepted in its place.
    std::string_view what;                ///< For help: "a volume in the daemon's memory".
    std::string_view service;             ///< "opi_api.storage.v1.NvmeRemoteControllerService"
    std::string_view message;             ///< "NvmeRemoteController", in the service's package.
    std::string_view collection;          ///< First segment of a name; the third one of a child's.
    std::string_view parent = {};         ///< First segment of a child's name, else "".
    std::string_view example = {};        ///< "disk0"
    std::string_view example_flags = {};  ///< The rest of an example of `create`.
    std::span<const Column> columns = {};
    std::span<const Flag> flags = {};
    /// Fills the resource of a create request; null for what cannot be created by itself.
    void (*build)(const Values&, Message&) = nullptr;
    Counters counters = Counters::None;
    /// Another spelling of `collection`, which names the kind among several with the same.
    std::string_view pattern = {};
    /// `list` wants one parent; otherwise none means all of them.
    bool list_needs_parent = false;
    bool can_delete = true;
    /// Its Update call takes another number of blocks.
    bool can_resize = false;
    /// A UUID stands for itself, not for an id in the collection.
    bool uuid_is_name = false;
    /// Where its limits of rate and its minimum are, which its Update call changes under these
    /// paths; null: none.
    opi_api::storage::v1::QosLimit* (*limits)(Message&) = nullptr;
    opi_api::storage::v1::QosLimit* (*minimum)(Message&) = nullptr;
    std::span<const std::string_view> limits_paths = {};
    /// Whether one is set, which stands on a capacity.
    bool (*has_minimum)(const Message&) = nullptr;
    /// Paths that its Update call changes; all else is as it was made.
    std::span<const std::string_view> changeable = {};
    /// They change only while it has no child.
    bool changes_childless = false;
    /// Paths that the daemon chooses although a request may have them: not compared, not exported.
    std::span<const std::string_view> chosen = {};
    /// Where the resource has its name.
    std::string_view name_field = "name";
    /// The kind that this is a setting of (cli/settings.h), or "".
    std::string_view setting_of = {};
    /// Instead of the Create call.
    void (*create)(Client&, const Message& resource, const std::string& typed) = nullptr;
    /// Instead of the Delete call.
    void (*remove)(Client&, const std::string& typed, bool allow_missing) = nullptr;
};

/// Whether one can be made, and declared in a site's file.
inline bool can_create(const Kind& kind) {
    return kind.build != nullptr || kind.create != nullptr;
}

/// The kind that is called so, in the singular or the plural; null when there is none.
const Kind* find_kind(std::string_view name);

/// All kinds, in the order of the chain from a volume to a host's disk.
std::span<const Kind> kinds();

/// The groups kinds() is made of, one file each.
std::span<const Kind> volume_kinds();
std::span<const Kind> service_kinds();
std::span<const Kind> layer_kinds();
std::span<const Kind> nvme_kinds();
std::span<const Kind> disk_kinds();

/// What a person types, as a resource name: "disk0" or "sub/ctrl", or a whole name as it is. Throws
/// Refused when a child's name lacks its parent.
std::string full_name(const Kind& kind, const std::string& typed);

/// The opposite: what to type for a resource name.
std::string short_name(const std::string& name);

/// "sub/ctrl" of a child kind that is created: {"nvmeSubsystems/sub", "ctrl"}.
std::pair<std::string, std::string> split_child(const Kind& kind, const std::string& typed);

/// A message as the type it is known to be, for columns and builders.
template <typename T>
const T& as(const Message& message) {
    return dynamic_cast<const T&>(message);
}
template <typename T>
T& as(Message& message) {
    return dynamic_cast<T&>(message);
}

}  // namespace remora::cli
