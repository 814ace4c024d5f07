//! Joins convolutions that read the same value into one with all their outputs.
//!
//! Detectors end in heads of one, four and ten channels beside each other. Apart, each fills only a
//! part of a register; joined, they are one convolution, of which each head is a slice.

use std::collections::HashMap;

use crate::graph::{Activation, Graph, Node, Op, Param, Params, ValueId};

/// Joins siblings until there are none left.
pub(super) fn merge(mut graph: Graph, mut params: Params) -> (Graph, Params) {
    while let Some(group) = siblings(&graph, &params).or_else(|| depthwise_siblings(&graph, &params)) {
        let Some(joined) = join(&graph, &mut params, &group) else { break };
        graph = prune(joined);
    }
    (graph, params)
}

/// Removes what nothing reads.
fn prune(graph: Graph) -> Graph {
    let mut read = vec![false; graph.nodes.len() + 1];
    graph.outputs.iter().for_each(|o| read[o.value] = true);
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        if read[at + 1] {
            node.inputs.iter().for_each(|v| read[*v] = true);
        }
    }
    let mut moved: Vec<ValueId> = vec![0];
    let mut kept = Graph { input: graph.input, nodes: vec![], outputs: graph.outputs };
    for (at, mut node) in graph.nodes.into_iter().enumerate() {
        if read[at + 1] {
            node.inputs.iter_mut().for_each(|v| *v = moved[*v]);
            kept.nodes.push(node);
        }
        moved.push(kept.nodes.len());
    }
    kept.outputs.iter_mut().for_each(|o| o.value = moved[o.value]);
    kept
}

/// What convolutions must have in common to be joined.
fn key(op: &Op) -> Option<(String, &str, usize)> {
    let Op::Conv { weight, window, dilation, groups, activation, .. } = op else { return None };
    if matches!(activation, Activation::Prelu(_)) {
        return None;
    }
    let (fused, _) = parted(activation);
    Some((format!("{window:?} {dilation:?} {fused:?}"), weight, *groups))
}

/// What the joined convolution applies, and what each slice does for itself: activations that the
/// kernels do not have are a pass of their own anyway, and then over a few channels only.
fn parted(activation: &Activation) -> (Activation, Activation) {
    match activation {
        Activation::None | Activation::Relu | Activation::LeakyRelu(_) | Activation::Prelu(_) => {
            (activation.clone(), Activation::None)
        }
        Activation::Sigmoid | Activation::HardSigmoid(..) | Activation::HardSwish | Activation::Clip(..) => {
            (Activation::None, activation.clone())
        }
    }
}

/// The first group of dense convolutions without residual that read one value.
fn siblings(graph: &Graph, params: &Params) -> Option<Vec<usize>> {
    let mut groups: HashMap<(ValueId, String), Vec<usize>> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        if let ([input], Some((key, weight, 1))) = (&node.inputs[..], key(&node.op)) {
            let inputs = params.get(weight)?.dims.get(1).copied()?;
            groups.entry((*input, format!("{key} {inputs}"))).or_default().push(at);
        }
    }
    groups.into_values().filter(|g| g.len() > 1).min()
}

/// A depthwise convolution of a slice: the slice's first channel, the node, its channels.
type Sliced = (usize, usize, usize);

/// Depthwise convolutions over neighbouring slices that cover the whole of one value.
fn depthwise_siblings(graph: &Graph, params: &Params) -> Option<Vec<usize>> {
    let mut groups: HashMap<(ValueId, String), Vec<Sliced>> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        let ([input], Some((key, weight, count))) = (&node.inputs[..], key(&node.op)) else { continue };
        let Some(maker) = input.checked_sub(1) else { continue };
        let dims = &params.get(weight)?.dims;
        let Node { inputs, op: Op::Slice { first, count: channels }, .. } = &graph.nodes[maker] else {
            continue;
        };
        // One channel has one group, so it looks like a dense convolution.
        if dims.get(1) == Some(&1) && dims.first() == Some(&count) && count == *channels {
            groups.entry((inputs[0], key)).or_default().push((*first, at, count));
        }
    }
    let covers = |value: ValueId, group: &mut Vec<Sliced>| {
        group.sort_unstable();
        let mut end = 0;
        for (first, _, count) in group.iter() {
            if *first != end {
                return false;
            }
            end += count;
        }
        let all = value.checked_sub(1).and_then(|n| outputs(&graph.nodes[n].op, params));
        group.len() > 1 && all == Some(end)
    };
    let complete = groups.into_iter().filter_map(|((value, _), mut group)| {
        covers(value, &mut group).then(|| group.iter().map(|(_, at, _)| *at).collect::<Vec<_>>())
    });
    complete.min()
}

/// Output channels of a convolution.
fn outputs(op: &Op, params: &Params) -> Option<usize> {
    let Op::Conv { weight, .. } = op else { return None };
    params.get(weight)?.dims.first().copied()
}

/// Replaces a group by one convolution, at the place of the group's first, and its slices.
fn join(graph: &Graph, params: &mut Params, group: &[usize]) -> Option<Graph> {
    let first = *group.iter().min()?;
    let (mut weights, mut biases, mut counts) = (vec![], vec![], vec![]);
    let mut dims = vec![];
    for at in group {
        let Op::Conv { weight, bias, activation, .. } = &graph.nodes[*at].op else { return None };
        let weight = params.get(weight)?;
        let rows = *weight.dims.first()?;
        dims.clone_from(&weight.dims);
        weights.extend_from_slice(&weight.data);
        match bias {
            Some(bias) => biases.extend_from_slice(&params.get(bias)?.data),
            None => biases.resize(biases.len() + rows, 0.0),
        }
        counts.push((rows, parted(activation).1));
    }
    let total = counts.iter().map(|(rows, _)| rows).sum();
    let Node { name, inputs, op } = &graph.nodes[group[0]];
    let Op::Conv { window, dilation, activation, .. } = op else { return None };
    // Depthwise convolutions read slices; the joined one reads what they are slices of.
    let maker = &graph.nodes[inputs[0].checked_sub(1)?];
    let sliced = (matches!(maker.op, Op::Slice { .. }) && dims.get(1) == Some(&1)).then(|| maker.inputs[0]);
    dims[0] = total;
    let weight = format!("{name}+{}", group.len());
    let bias = format!("{weight}.bias");
    params.insert(weight.clone(), Param { dims, data: weights });
    params.insert(bias.clone(), Param { dims: vec![total], data: biases });
    let conv = Op::Conv {
        weight: weight.clone(),
        bias: Some(bias),
        window: *window,
        dilation: *dilation,
        groups: if sliced.is_some() { total } else { 1 },
        activation: parted(activation).0,
    };

    let mut joined = Graph { input: graph.input, nodes: vec![], outputs: graph.outputs.clone() };
    // Where the old values are in the new graph.
    let mut moved: Vec<ValueId> = vec![0];
    let mut slices: HashMap<usize, ValueId> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        if at == first {
            let input = moved[sliced.unwrap_or(inputs[0])];
            joined.nodes.push(Node { name: weight.clone(), inputs: vec![input], op: conv.clone() });
            let whole = joined.nodes.len();
            let mut channel = 0;
            for (member, (count, activation)) in group.iter().zip(&counts) {
                let name = &graph.nodes[*member].name;
                let op = Op::Slice { first: channel, count: *count };
                joined.nodes.push(Node { name: name.clone(), inputs: vec![whole], op });
                if *activation != Activation::None {
                    let op = Op::Activate { activation: activation.clone() };
                    let inputs = vec![joined.nodes.len()];
                    joined.nodes.push(Node { name: name.clone(), inputs, op });
                }
                slices.insert(*member, joined.nodes.len());
                channel += count;
            }
        }
        if let Some(slice) = slices.get(&at) {
            moved.push(*slice);
            continue;
        }
        let inputs = node.inputs.iter().map(|v| moved[*v]).collect();
        joined.nodes.push(Node { name: node.name.clone(), inputs, op: node.op.clone() });
        moved.push(joined.nodes.len());
    }
    joined.outputs.iter_mut().for_each(|o| o.value = moved[o.value]);
    Some(joined)
}
