// SPDX-License-Identifier: Apache-2.0
// What a daemon holds, asked for once, and which resource stands on which.
#pragma once

#include <string>
#include <vector>

#include "cli/calls.h"

namespace remora::cli {

/// A resource that is there, or one that is to be.
struct Item {
    const Kind* kind = nullptr;
    std::string name;  ///< As the daemon has it.
    const Message* message = nullptr;
};

struct Held {
    const Kind* kind = nullptr;
    std::string name;
    MessagePtr message;
    /// An attachment made it, and takes it away.
    bool of_attachment = false;

    [[nodiscard]] Item item() const { return {kind, name, message.get()}; }
};

/// All resources of the kinds that can be made, and settings of them that were asked for.
class Holdings {
  public:
    explicit Holdings(std::vector<Held> all, std::vector<Held> settings = {});

    [[nodiscard]] const std::vector<Held>& all() const { return all_; }
    [[nodiscard]] const std::vector<Held>& settings() const { return settings_; }
    /// Null when there is none.
    [[nodiscard]] const Held* find(const Kind& kind, const std::string& name) const;

  private:
    void mark_attachments();

    std::vector<Held> all_;
    std::vector<Held> settings_;
};

/// Asks the daemon, and for these settings. Services that it does not have hold nothing.
Holdings ask_holdings(const Session& session, const std::vector<const Kind*>& settings);

/// Whether `user` cannot be without `used`: its parent, the volume under it, the
/// capacity that its minimum stands on, the back end of a capacity, or what it is a setting of.
/// Timings hold from a path's next connection on, so paths come behind them.
bool needs(const Item& user, const Item& used);

/// The items' indices, each behind all that it needs; otherwise by kind and then as they are given.
/// What is on a volume comes behind the remote controllers and paths by which a volume may come.
std::vector<std::size_t> creation_order(const std::vector<Item>& items);

/// Whether two references lead to the same local volume.
bool same_volume(const std::string& one, const std::string& other, const std::vector<Item>& items);

}  // namespace remora::cli
