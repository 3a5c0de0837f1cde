// SPDX-License-Identifier: Apache-2.0
#include "cli/site_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "cli/settings.h"
#include "core/check.h"

namespace remora::cli {

namespace {

bool within_any(const std::string& path, std::span<const std::string_view> roots) {
    return std::ranges::any_of(roots, [&](std::string_view root) {
        return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '.');
    });
}

bool shrinks(const FieldPath& path, const Message& before, const Message& after) {
    return path.back()->name() == "blocks_count" && value_of(after, path) < value_of(before, path);
}

/// Of a volume that takes a size.
std::int64_t block_size_of(const Message& volume) {
    const auto* field = volume.GetDescriptor()->FindFieldByName("block_size");
    CHECK(field != nullptr);
    return volume.GetReflection()->GetInt64(volume, field);
}

std::string spoken(const Kind& kind, const std::string& typed) {
    return std::string(kind.name) + " " + typed;
}

class Planner {
  public:
    Planner(Site& site, const Holdings& holdings, const PlanOptions& options)
        : site_(site), holdings_(holdings), options_(options) {}

    Plan run() {
        for (const Held& held : holdings_.all()) {
            held_items_.push_back(held.item());
        }
        for (Declared& declared : site_.resources) {
            compare(declared);
        }
        if (options_.prune) {
            prune();
        }
        spread_deletions();
        block_deletions();
        for (Step& step : steps_) {
            if (is_setting(*step.kind)) {
                compare_setting(step);
            }
        }
        Plan plan;
        add_deletions(plan);
        add_declared(plan);
        return plan;
    }

  private:
    void compare(Declared& declared) {
        const Held* held = holdings_.find(*declared.kind, declared.name);
        declared_.emplace(declared.kind->name, declared.name);
        Step step;
        step.kind = declared.kind;
        step.typed = declared.typed;
        step.wanted = &declared;
        step.held = held;
        settle_size(site_.source, declared,
                    declared.size && held != nullptr ? block_size_of(*held->message) : 0);
        if (is_setting(*declared.kind)) {
            // Once it is known what becomes of the resource.
        } else if (held == nullptr) {
            step.act = Act::Create;
        } else {
            compare_fields(declared, *held, step);
        }
        steps_.push_back(std::move(step));
    }

    void compare_fields(const Declared& declared, const Held& held, Step& step) {
        bool fixed = false;
        for (const FieldPath& path : declared.fields) {
            const std::string text = path_text(path);
            if (is_secret(*path.back()) || within_any(text, declared.kind->chosen) ||
                is_same(*declared.message, *held.message, path)) {
                continue;
            }
            fixed = fixed || !within_any(text, declared.kind->changeable) ||
                    shrinks(path, *held.message, *declared.message);
            step.changes.push_back(
                {path, value_text(*held.message, path), value_text(*declared.message, path),
                 value_of(*held.message, path), value_of(*declared.message, path)});
        }
        if (step.changes.empty()) {
            return;
        }
        fixed = fixed || (held.kind->changes_childless && has_child(held));
        step.act = fixed ? Act::Blocked : Act::Change;
        if (held.of_attachment) {
            step.act = Act::Blocked;
            step.reason = "an attachment made it";
        } else if (fixed && options_.replace) {
            step.act = Act::Create;
            deleted_.emplace(index_of(held), "to be made anew");
        } else if (fixed) {
            step.reason =
                "cannot be changed while it exists: --replace deletes it, with what it "
                "holds, and makes it anew";
        }
    }

    /// Against what is set, or what a new resource has.
    void compare_setting(Step& step) {
        const Declared& declared = *step.wanted;
        const Kind& owner_kind = *find_kind(declared.kind->setting_of);
        const Held* owner = holdings_.find(owner_kind, declared.name);
        const bool is_new =
            owner == nullptr || (is_declared(*owner) && deleted_.contains(index_of(*owner)));
        if (owner == nullptr && !declared_.contains({owner_kind.name, declared.name})) {
            step.act = Act::Blocked;
            step.reason = "there is no " + spoken(owner_kind, declared.typed);
            return;
        }
        const MessagePtr defaults = default_setting(*declared.kind);
        const Message& before = is_new || step.held == nullptr ? *defaults : *step.held->message;
        for (const FieldPath& path : declared.fields) {
            // 0 sets a time back to its default.
            const bool to_default =
                value_of(*declared.message, path) == 0 && same_value(before, *defaults, path);
            if (!to_default && !same_value(*declared.message, before, path)) {
                step.act = Act::Change;
                step.changes.push_back({path, value_text(before, path),
                                        value_text(*declared.message, path), value_of(before, path),
                                        value_of(*declared.message, path)});
            }
        }
    }

    bool has_child(const Held& parent) const {
        return std::ranges::any_of(holdings_.all(), [&](const Held& held) {
            return held.kind->parent == parent.kind->collection &&
                   held.name.starts_with(parent.name + "/");
        });
    }

    bool is_same(const Message& one, const Message& other, const FieldPath& path) const {
        if (same_value(one, other, path)) {
            return true;
        }
        const auto left = value_of(one, path);
        const auto right = value_of(other, path);
        return path.back()->name() == "volume_name_ref" && left.is_string() && right.is_string() &&
               same_volume(left.get<std::string>(), right.get<std::string>(), held_items_);
    }

    void prune() {
        std::set<std::string_view> kinds;
        for (const Declared& declared : site_.resources) {
            kinds.insert(declared.kind->name);
        }
        for (const Held& held : holdings_.all()) {
            if (kinds.contains(held.kind->name) && !held.of_attachment && !is_declared(held) &&
                short_name(held.name).starts_with(options_.scope)) {
                deleted_.emplace(index_of(held), "not declared");
            }
        }
    }

    /// What uses a resource that is made anew has to go before it, and is made anew, too, when it
    /// is declared.
    void spread_deletions() {
        for (bool again = options_.replace; std::exchange(again, false);) {
            for (const Held& user : holdings_.all()) {
                if (deleted_.contains(index_of(user)) || user.of_attachment || !is_declared(user)) {
                    continue;
                }
                for (const auto& [index, reason] : deleted_) {
                    const Held& used = holdings_.all()[index];
                    if (is_declared(used) && needs(user.item(), used.item())) {
                        step_of(user).act = Act::Create;
                        deleted_.emplace(index_of(user), "uses " + spoken_name(used));
                        again = true;
                        break;
                    }
                }
            }
        }
    }

    /// Deletions that cannot be: of what is in use, or is to be.
    void block_deletions() {
        for (const auto& [index, reason] : deleted_) {
            const Held& used = holdings_.all()[index];
            for (const Held& user : holdings_.all()) {
                if (!deleted_.contains(index_of(user)) && needs(user.item(), used.item())) {
                    blocked_.emplace(index, spoken_name(user) + " uses it");
                }
            }
            for (const Declared& user : site_.resources) {
                if (!is_declared(used) && needs(item_of(user), used.item())) {
                    blocked_.emplace(index, spoken(*user.kind, user.typed) + " is to use it");
                }
            }
        }
    }

    std::size_t index_of(const Held& held) const {
        return static_cast<std::size_t>(&held - holdings_.all().data());
    }
    bool is_declared(const Held& held) const {
        return declared_.contains({held.kind->name, held.name});
    }
    static Item item_of(const Declared& declared) {
        return {declared.kind, declared.name, declared.message.get()};
    }
    static std::string spoken_name(const Held& held) {
        return spoken(*held.kind, short_name(held.name));
    }

    Step& step_of(const Held& held) {
        const auto found = std::ranges::find(steps_, &held, &Step::held);
        CHECK(found != steps_.end());
        return *found;
    }

    void add_deletions(Plan& plan) {
        std::vector<Item> items;
        std::vector<const Held*> helds;
        for (const Held& held : holdings_.all()) {
            if (deleted_.contains(index_of(held))) {
                items.push_back(held.item());
                helds.push_back(&held);
            }
        }
        auto order = creation_order(items);
        std::ranges::reverse(order);
        for (const std::size_t index : order) {
            const Held& held = *helds[index];
            Step step;
            step.act = Act::Delete;
            step.kind = held.kind;
            step.typed = short_name(held.name);
            step.reason = deleted_.at(index_of(held));
            step.held = &held;
            if (const auto blocked = blocked_.find(index_of(held)); blocked != blocked_.end()) {
                step.act = Act::Blocked;
                step.reason += ", but " + blocked->second;
            }
            if (const auto found = std::ranges::find(steps_, &held, &Step::held);
                found != steps_.end()) {
                step.changes = std::move(found->changes);
                found->changes.clear();
                found->held = nullptr;
            }
            plan.steps.push_back(std::move(step));
        }
    }

    void add_declared(Plan& plan) {
        std::vector<Item> items;
        items.reserve(steps_.size());
        for (const Step& step : steps_) {
            items.push_back(item_of(*step.wanted));
        }
        for (const std::size_t index : creation_order(items)) {
            Step& step = steps_[index];
            const std::string missing =
                step.act == Act::Create ? missing_field(*step.wanted->message) : "";
            if (!missing.empty()) {
                refuse_at(site_.source, step.wanted->place,
                          "to make " + spoken(*step.kind, step.typed) + ", " + missing +
                              (missing == "key" ? " (or key-file)" : "") +
                              " is needed, and not 0 or empty");
            }
            plan.steps.push_back(std::move(step));
        }
    }

    Site& site_;
    const Holdings& holdings_;
    const PlanOptions& options_;
    std::vector<Item> held_items_;
    std::set<std::pair<std::string_view, std::string>> declared_;
    std::vector<Step> steps_;                     ///< Of declared resources, in the file's order.
    std::map<std::size_t, std::string> deleted_;  ///< With the reason.
    std::map<std::size_t, std::string> blocked_;  ///< Deletions that cannot be.
};

}  // namespace

bool Plan::differs() const {
    return std::ranges::any_of(steps, [](const Step& step) { return step.act != Act::Unchanged; });
}

bool Plan::blocked() const {
    return std::ranges::any_of(steps, [](const Step& step) { return step.act == Act::Blocked; });
}

Plan make_plan(Site& site, const Holdings& holdings, const PlanOptions& options) {
    return Planner(site, holdings, options).run();
}

}  // namespace remora::cli
